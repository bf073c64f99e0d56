/* MESSAGES_SNAPSHOT: the run's messages so far, bounded in memory and, when sent, to one readable line. */
#include "emitter-internal.h"

#include "utf8.h"

static json_t *cut_text(Str s)
{
    return json_strv(str_slice(s, 0, utf8_cut(s, AGUI_CONTENT_MAX)));
}

static void append(Emitter *e, json_t *message, size_t bytes)
{
    json_array_append_new(e->messages, message);
    e->messages_bytes += bytes + 128;
    if (e->messages_bytes <= SNAPSHOT_BYTES)
        return;
    /* The older half goes: what a reader needs is at the end. */
    size_t keep = json_array_size(e->messages) / 2;
    while (json_array_size(e->messages) > keep && json_array_size(e->messages) > 1)
        json_array_remove(e->messages, 0);
    e->messages_bytes /= 2;
}

void snapshot_begin(Emitter *e, const RunInput *input)
{
    char time[RFC3339_MAX];
    const json_t *m;
    size_t i;

    e->messages = json_array();
    e->messages_bytes = 0;
    if (!input)
        return;
    Str stamp = rfc3339_format(clock_wall(e->clock), time);
    json_array_foreach(input->messages, i, m)
    {
        json_t *copy = json_copy((json_t *)(uintptr_t)m);
        Str content = json_get_strv(m, "content");
        if (content.ptr)
            json_object_set_new(copy, "content", cut_text(content));
        json_object_set_new(copy, "timestamp", json_strv(stamp));
        append(e, copy, content.len < AGUI_CONTENT_MAX ? content.len : AGUI_CONTENT_MAX);
    }
}

void snapshot_text(Emitter *e, const char *id, const char *role, Str text)
{
    json_t *m = json_object();

    if (text.len == 0) {
        json_decref(m);
        return;
    }
    json_object_set_new(m, "id", json_string(id));
    json_object_set_new(m, "role", json_string(role));
    json_object_set_new(m, "content", cut_text(text));
    append(e, m, text.len < AGUI_CONTENT_MAX ? text.len : AGUI_CONTENT_MAX);
}

void snapshot_tool_call(Emitter *e, const OpenTool *t)
{
    char id[UUID_LEN + 1];

    uuid_new(id);
    json_t *function = json_object();
    json_object_set_new(function, "name", json_strv(str_from(t->name)));
    json_object_set_new(function, "arguments", cut_text(buf_str(&t->args)));
    json_t *call = json_object();
    json_object_set_new(call, "id", json_strv(str_from(t->id)));
    json_object_set_new(call, "type", json_string("function"));
    json_object_set_new(call, "function", function);
    json_t *calls = json_array();
    json_array_append_new(calls, call);
    json_t *m = json_object();
    json_object_set_new(m, "id", json_string(id));
    json_object_set_new(m, "role", json_string("assistant"));
    json_object_set_new(m, "toolCalls", calls);
    append(e, m, t->args.len);
}

void snapshot_tool_result(Emitter *e, Str id, Str name, Str content)
{
    CLEANUP_FREE char *result_id = xasprintf(STR_FMT "-result", STR_ARG(id));
    json_t *m = json_object();

    json_object_set_new(m, "id", json_strv(str_from(result_id)));
    json_object_set_new(m, "role", json_string("tool"));
    json_object_set_new(m, "content", cut_text(content));
    json_object_set_new(m, "toolCallId", json_strv(id));
    json_object_set_new(m, "name", json_strv(name));
    append(e, m, content.len < AGUI_CONTENT_MAX ? content.len : AGUI_CONTENT_MAX);
}

void snapshot_send(Emitter *e)
{
    for (;;) {
        AguiWriter w = agui_begin(&e->out, AGUI_MESSAGES_SNAPSHOT);
        agui_json(&w, "messages", e->messages);
        size_t n = json_array_size(e->messages);
        if (n == 0 || (!e->out.failed && e->out.len < AGUI_EVENT_MAX)) {
            emitter_send(e, &w, AGUI_MESSAGES_SNAPSHOT, STR(""));
            return;
        }
        for (size_t i = 0; i < (n + 1) / 2; i++)
            json_array_remove(e->messages, 0);
    }
}

void snapshot_end(Emitter *e)
{
    json_decref(e->messages);
    e->messages = NULL;
}
