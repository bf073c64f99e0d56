/* Records of the session's log. Members are the union of what the consoles and the terminal client read. */
#include "emitter-internal.h"

#include "utf8.h"

static void put(Emitter *e, const char *event_type, json_t *record)
{
    CLEANUP_JSON json_t *owned = record;
    CLEANUP_BUF Buf b = BUF_INIT(RECORD_TEXT_MAX + 65536);

    json_write_plain(&b, owned);
    if (!b.failed)
        e->ops.on_record(e->arg, event_type, buf_str(&b));
}

void record_text(Emitter *e, const char *event_type, Str text)
{
    text = str_trim(text);
    if (text.len > 0)
        e->ops.on_record(e->arg, event_type, text);
}

/* Arguments as a value: an object as it is, another value as {"value": x}, broken JSON as {"raw": text}. */
static json_t *arguments(Str args)
{
    json_t *v = NULL;

    if (str_trim(args).len == 0)
        return NULL;
    if (json_parse(args, &v, NULL) < 0)
        return json_pack("{s:o}", "raw", json_strv(args));
    return json_is_object(v) ? v : json_pack("{s:o}", "value", v);
}

void record_tool_use(Emitter *e, const OpenTool *t)
{
    CLEANUP_JSON json_t *args = arguments(buf_str(&t->args));
    json_t *r = json_object();

    json_object_set_new(r, "tool", json_strv(str_from(t->name)));
    json_object_set_new(r, "name", json_strv(str_from(t->name)));
    json_object_set_new(r, "tool_call_id", json_strv(str_from(t->id)));
    if (args) {
        json_object_set(r, "input", args);
        json_object_set(r, "arguments", args);
    }
    put(e, "tool_use", r);
}

void record_tool_result(Emitter *e, Str id, Str content, bool is_error)
{
    CLEANUP_BUF Buf cut = BUF_INIT(RESULT_CHARS * 4 + 64);
    size_t n = utf8_cut_chars(content, RESULT_CHARS);
    json_t *r = json_object();

    buf_adds(&cut, str_slice(content, 0, n));
    if (n < content.len)
        buf_addz(&cut, "... (truncated)");
    json_object_set_new(r, "tool_call_id", json_strv(id));
    json_object_set_new(r, "result", json_strv(buf_str(&cut)));
    json_object_set_new(r, "content", json_strv(buf_str(&cut)));
    json_object_set_new(r, "is_error", json_boolean(is_error));
    put(e, "tool_result", r);
}

void record_run(Emitter *e, const char *event, const json_t *result)
{
    json_t *r = json_object();

    json_object_set_new(r, "event", json_string(event));
    json_object_set_new(r, "run_id", json_string(e->run_id));
    json_object_set_new(r, "seq", json_integer((json_int_t)e->seq));
    if (json_get_bool(result, "interrupted", false))
        json_object_set_new(r, "interrupted", json_true());
    if (json_object_get(result, "requires_action"))
        json_object_set_new(r, "requires_action", json_true());
    put(e, "lifecycle", r);
}

/* What was said in the run, for clients that read the answer from here: an array of {role, content}, the
   newest last. Long runs lose their beginning. */
void record_snapshot(Emitter *e)
{
    json_t *said = json_array();
    size_t bytes = 0;
    bool answered = false;

    for (size_t i = json_array_size(e->messages); i-- > 0;) {
        const json_t *m = json_array_get(e->messages, i);
        Str role = json_get_strv(m, "role"), content = json_get_strv(m, "content");
        bool answer = str_eqz(role, "assistant");
        if (!content.len || (!answer && !str_eqz(role, "user")))
            continue;
        bytes += content.len;
        if (bytes > SNAPSHOT_RECORD_BYTES && answered)
            break;
        answered = answered || answer;
        json_array_insert_new(
            said, 0, json_pack("{s:o, s:o}", "role", json_strv(role), "content", json_strv(content)));
    }
    if (answered)
        put(e, "MESSAGES_SNAPSHOT", said);
    else
        json_decref(said);
}

void record_error(Emitter *e, Str message, const char *code)
{
    json_t *r = json_object();

    json_object_set_new(r, "error", json_strv(message));
    json_object_set_new(r, "message", json_strv(message));
    json_object_set_new(r, "code", json_string(code));
    json_object_set_new(r, "seq", json_integer((json_int_t)e->seq));
    put(e, "error", r);
}

void record_custom(Emitter *e, const char *name, const json_t *value)
{
    json_t *r = json_object();
    bool error = str_find(str_from(name), STR("error")) >= 0;

    json_object_set_new(r, "custom_event", json_string(name));
    if (value)
        json_object_set_new(r, "value", json_deep_copy(value));
    if (error)
        json_object_set_new(r, "seq", json_integer(0)); /* it ends no turn */
    put(e, error ? "error" : "system", r);
}
