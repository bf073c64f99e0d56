#include "claude-line.h"

static const struct {
    const char *type, *subtype; /* subtype NULL = any */
    ClaudeType is;
} types[] = {
    {"stream_event", NULL, CLAUDE_STREAM},
    {"assistant", NULL, CLAUDE_ASSISTANT},
    {"user", NULL, CLAUDE_USER},
    {"result", NULL, CLAUDE_RESULT},
    {"system", "init", CLAUDE_INIT},
    {"system", "status", CLAUDE_STATUS},
    {"system", "api_retry", CLAUDE_API_RETRY},
    {"system", "permission_denied", CLAUDE_PERMISSION_DENIED},
    {"system", "task_started", CLAUDE_TASK_STARTED},
    {"system", "task_progress", CLAUDE_TASK_PROGRESS},
    {"system", "task_updated", CLAUDE_TASK_UPDATED},
    {"system", "task_notification", CLAUDE_TASK_ENDED},
    {"rate_limit_event", NULL, CLAUDE_RATE_LIMIT},
    {"control_request", NULL, CLAUDE_CONTROL_REQUEST},
    {"control_response", NULL, CLAUDE_CONTROL_RESPONSE},
    {"control_cancel_request", NULL, CLAUDE_CONTROL_CANCEL},
};

static ClaudeType type_of(const json_t *o)
{
    Str type = json_get_strv(o, "type");
    Str subtype = json_get_strv(o, "subtype");

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eqz(type, types[i].type) && (!types[i].subtype || str_eqz(subtype, types[i].subtype)))
            return types[i].is;
    return CLAUDE_IGNORED;
}

void claude_line_parse(Str line, ClaudeLine *ret)
{
    CLEANUP_JSON json_t *o = NULL;

    *ret = (ClaudeLine){0};
    line = str_trim(line);
    if (!str_starts(line, STR("{")) || json_parse(line, &o, NULL) < 0)
        return;
    ret->type = type_of(o);
    if (ret->type == CLAUDE_IGNORED)
        return;
    ret->json = TAKE(o);
    ret->parent = json_get_str(ret->json, "parent_tool_use_id");
}

void claude_line_done(ClaudeLine *l)
{
    json_decref(l->json);
    *l = (ClaudeLine){0};
}

bool claude_result_is_own(const ClaudeLine *l)
{
    return str_eqz(json_get_strv(json_get_obj(l->json, "origin"), "kind"), "task-notification");
}

bool claude_result_is_aborted(const ClaudeLine *l)
{
    return str_starts(json_get_strv(l->json, "terminal_reason"), STR("aborted"));
}

/* "[image image/png 12345 bytes]"; the size is that of the data behind the base64 text. */
static void describe_block(const json_t *block, Buf *out)
{
    const json_t *source = json_get_obj(block, "source");
    Str type = json_get_strv(block, "type");
    Str media = json_get_strv(source, "media_type");
    Str data = json_get_strv(source, "data");

    buf_addf(out, "[" STR_FMT, STR_ARG(type.len ? type : STR("block")));
    if (media.len > 0)
        buf_addf(out, " " STR_FMT, STR_ARG(media));
    if (data.len > 0)
        buf_addf(out, " %zu bytes", data.len / 4 * 3);
    buf_addc(out, ']');
}

void claude_result_text(const json_t *content, Buf *out)
{
    const json_t *block;
    size_t i;

    if (json_is_string(content))
        buf_add(out, json_string_value(content), json_string_length(content));
    json_array_foreach(content, i, block)
    {
        Str text = json_get_strv(block, "text");
        if (str_eqz(json_get_strv(block, "type"), "text"))
            buf_adds(out, text);
        else
            describe_block(block, out);
    }
}
