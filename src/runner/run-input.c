#include "run-input.h"

#include "base/mem.h"
#include "uuid.h"

void run_input_done(RunInput *in)
{
    free(in->thread_id);
    free(in->run_id);
    free(in->parent_run_id);
    free(in->text);
    json_decref(in->messages);
    json_decref(in->state);
    json_decref(in->tools);
    json_decref(in->context);
    json_decref(in->forwarded);
    *in = (RunInput){0};
}

static char *new_id(void)
{
    char id[UUID_LEN + 1];

    uuid_new(id);
    return xstrdup(id);
}

/* A member under its camel or snake name; NULL when absent or empty. */
static char *id_member(const json_t *o, const char *camel, const char *snake)
{
    const char *s = json_get_str(o, camel);

    if (!s || !*s)
        s = json_get_str(o, snake);
    return s && *s ? xstrdup(s) : NULL;
}

static json_t *take_member(const json_t *o, const char *camel, const char *snake, json_type type)
{
    json_t *v = json_object_get(o, camel);

    if (!v && snake)
        v = json_object_get(o, snake);
    return v && json_typeof(v) == type ? json_incref(v) : NULL;
}

/* String content, or the first block that has a text. */
static const char *message_text(const json_t *message)
{
    const json_t *content = json_object_get(message, "content");
    const json_t *block;
    size_t i;

    if (json_is_string(content))
        return json_string_value(content);
    json_array_foreach(content, i, block)
    {
        const char *text = json_get_str(block, "text");
        if (text)
            return text;
    }
    return "";
}

static bool messages_ok(const json_t *messages)
{
    const json_t *m;
    size_t i;

    if (!json_is_array(messages))
        return false;
    json_array_foreach(messages, i, m) if (!json_is_object(m)) return false;
    return true;
}

static json_t *messages_with_ids(const json_t *messages)
{
    json_t *out = json_deep_copy(messages);
    json_t *m;
    size_t i;

    json_array_foreach(out, i, m)
    {
        char id[UUID_LEN + 1];
        const char *had = json_get_str(m, "id");
        if (had && *had)
            continue;
        uuid_new(id);
        json_object_set_new(m, "id", json_string(id));
    }
    return out;
}

static void fill(RunInput *in, const json_t *o)
{
    const json_t *messages = json_object_get(o, "messages");
    size_t n = json_array_size(messages);

    in->thread_id = id_member(o, "threadId", "thread_id");
    in->run_id = id_member(o, "runId", "run_id");
    in->parent_run_id = id_member(o, "parentRunId", "parent_run_id");
    if (!in->run_id)
        in->run_id = new_id();
    in->text = xstrdup(n > 0 ? message_text(json_array_get(messages, n - 1)) : "");
    in->messages = messages_with_ids(messages);
    in->state = take_member(o, "state", NULL, JSON_OBJECT);
    in->tools = take_member(o, "tools", NULL, JSON_ARRAY);
    in->context = take_member(o, "context", NULL, JSON_ARRAY);
    in->forwarded = take_member(o, "forwardedProps", "forwarded_props", JSON_OBJECT);
}

int run_input_parse(Str body, RunInput *ret, RunInputFault *fault)
{
    CLEANUP_JSON json_t *o = NULL;

    if (json_parse(body, &o, NULL) < 0) {
        *fault = (RunInputFault){"json_invalid", NULL, "JSON decode error"};
        return -ERR_INVALID;
    }
    if (!json_is_object(o)) {
        *fault = (RunInputFault){"model_attributes_type", NULL,
                                 "Input should be a valid dictionary or object to extract fields from"};
        return -ERR_INVALID;
    }
    const json_t *messages = json_object_get(o, "messages");
    if (!messages) {
        *fault = (RunInputFault){"missing", "messages", "Field required"};
        return -ERR_INVALID;
    }
    if (!messages_ok(messages)) {
        *fault = (RunInputFault){"list_type", "messages", "Input should be a valid list of objects"};
        return -ERR_INVALID;
    }
    fill(ret, o);
    return 0;
}

/* A user's text may happen to be JSON: only what clearly is a run input is taken for one. */
static bool is_run_input(const json_t *o)
{
    const json_t *messages = json_object_get(o, "messages");
    const json_t *m;
    size_t i;

    if (!messages_ok(messages) || json_array_size(messages) == 0)
        return false;
    json_array_foreach(messages, i, m) if (!json_is_string(json_object_get(m, "role")) ||
                                           !json_object_get(m, "content")) return false;
    return true;
}

void run_input_from_payload(Str payload, RunInput *ret)
{
    CLEANUP_JSON json_t *o = NULL;

    if (str_starts(str_trim(payload), STR("{")) && json_parse(payload, &o, NULL) == 0 && is_run_input(o)) {
        fill(ret, o);
        return;
    }
    ret->run_id = new_id();
    ret->text = str_dup(payload);
    json_t *message = json_object();
    json_object_set_new(message, "role", json_string("user"));
    json_object_set_new(message, "content", json_strv(payload));
    json_t *bare = json_array();
    json_array_append_new(bare, message);
    ret->messages = messages_with_ids(bare);
    json_decref(bare);
}
