#include "test-internal.h"

#include <stdio.h>

static void flaw(Recorder *r, const char *what, const char *type)
{
    if (!*r->flaw)
        snprintf(r->flaw, sizeof(r->flaw), "%s: %s", type, what);
}

static const struct {
    const char *type, *shape;
} shapes[] = {
    {"RUN_STARTED", "R("},
    {"RUN_FINISHED", "R)"},
    {"RUN_ERROR", "R!"},
    {"TEXT_MESSAGE_START", "T("},
    {"TEXT_MESSAGE_CONTENT", "T."},
    {"TEXT_MESSAGE_END", "T)"},
    {"TOOL_CALL_START", "C("},
    {"TOOL_CALL_ARGS", "C."},
    {"TOOL_CALL_END", "C)"},
    {"TOOL_CALL_RESULT", "C="},
    {"REASONING_START", "("},
    {"REASONING_MESSAGE_START", ""},
    {"REASONING_MESSAGE_CONTENT", "."},
    {"REASONING_MESSAGE_END", ""},
    {"REASONING_END", ")"},
    {"STATE_SNAPSHOT", "S"},
    {"MESSAGES_SNAPSHOT", "M"},
    {"CUSTOM", "X"},
};

static const char *shape_of(const char *type)
{
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
        if (str_eqz(str_from(type), shapes[i].type))
            return shapes[i].shape;
    fail_msg("unknown event %s", type);
    return "";
}

static bool is(const char *type, const char *want)
{
    return str_eqz(str_from(type), want);
}

static void judge_run(Recorder *r, const char *type)
{
    if (is(type, "RUN_STARTED")) {
        if (r->run)
            flaw(r, "inside an active run", type);
        r->run = true;
        r->over = false;
        return;
    }
    if (!r->run)
        flaw(r, "outside of a run", type);
    if (!is(type, "RUN_FINISHED") && !is(type, "RUN_ERROR"))
        return;
    if (r->text_open || r->open_calls || r->reasoning_open)
        flaw(r, "something is still open", type);
    r->run = false;
}

static void judge_text(Recorder *r, const char *type, const json_t *ev)
{
    Str id = json_get_strv(ev, "messageId");

    if (is(type, "TEXT_MESSAGE_START")) {
        if (r->text_open)
            flaw(r, "another one is open", type);
        r->text_open = true;
        snprintf(r->text_id, sizeof(r->text_id), STR_FMT, STR_ARG(id));
        return;
    }
    if (!r->text_open || !str_eqz(id, r->text_id))
        flaw(r, "its message is not open", type);
    if (is(type, "TEXT_MESSAGE_END"))
        r->text_open = false;
    else if (json_get_strv(ev, "delta").len == 0)
        flaw(r, "empty delta", type);
}

static void judge(Recorder *r, const char *type, const json_t *ev)
{
    if (str_starts(str_from(type), STR("RUN_")) || !r->run)
        judge_run(r, type);
    if (str_starts(str_from(type), STR("TEXT_")))
        judge_text(r, type, ev);
    if (is(type, "TOOL_CALL_START"))
        r->open_calls++;
    if (is(type, "TOOL_CALL_ARGS") && !r->open_calls)
        flaw(r, "no call is open", type);
    if (is(type, "TOOL_CALL_END") && r->open_calls-- == 0)
        flaw(r, "no call is open", type);
    if (is(type, "REASONING_START"))
        r->reasoning_open = true;
    if (is(type, "REASONING_END"))
        r->reasoning_open = false;
    if (is(type, "REASONING_MESSAGE_START") && !str_eqz(json_get_strv(ev, "role"), "reasoning"))
        flaw(r, "role is not reasoning", type);
}

static void on_event(void *arg, const AguiEvent *e)
{
    Recorder *r = arg;
    CLEANUP_JSON json_t *ev = NULL;

    assert_int_equal(json_parse(e->json, &ev, NULL), 0);
    assert_true(e->json.len < AGUI_EVENT_MAX);
    assert_int_equal(str_find_byte(e->json, '\n'), -1);
    const char *type = json_get_str(ev, "type");
    assert_string_equal(type, agui_name(e->type));
    judge(r, type, ev);
    buf_addz(&r->shape, shape_of(type));
    buf_adds(&r->events, e->json);
    buf_addc(&r->events, '\n');
    if (is(type, "TEXT_MESSAGE_CONTENT"))
        buf_adds(&r->text, json_get_strv(ev, "delta"));
}

static void on_record(void *arg, const char *event_type, Str payload)
{
    Recorder *r = arg;

    assert_true(str_is_utf8(payload));
    buf_addf(&r->records, "%s ", event_type);
    buf_adds(&r->records, payload);
    buf_addc(&r->records, '\n');
}

void recorder_init(Recorder *r)
{
    static const EmitterOps ops = {on_event, on_record};

    *r = (Recorder){0};
    fake_clock_init(&r->clock, (WallUsec){1500000});
    r->redact = redact_set_new();
    r->emitter = emitter_new(&ops, r, &r->clock.clock, r->redact);
    buf_init(&r->shape, 1 << 20);
    buf_init(&r->events, 64 << 20);
    buf_init(&r->records, 64 << 20);
    buf_init(&r->text, 64 << 20);
}

void recorder_done(Recorder *r)
{
    emitter_free(r->emitter);
    redact_set_free(r->redact);
    buf_done(&r->shape);
    buf_done(&r->events);
    buf_done(&r->records);
    buf_done(&r->text);
}

void recorder_begin(Recorder *r, const char *text)
{
    RunInput in = {0};

    run_input_from_payload(str_from(text), &in);
    free(in.run_id);
    in.run_id = xstrdup("run-1");
    emit_run_started(r->emitter, &(EmitRun){.thread_id = "thread-1", .seq = 7, .input = &in});
    run_input_done(&in);
}

void recorder_clear(Recorder *r)
{
    buf_clear(&r->shape);
    buf_clear(&r->events);
    buf_clear(&r->records);
    buf_clear(&r->text);
}

json_t *recorder_event(const Recorder *r, const char *type, unsigned n)
{
    Str rest = buf_str(&r->events);

    while (rest.len > 0) {
        json_t *ev = NULL;
        assert_int_equal(json_parse(str_cut(&rest, '\n'), &ev, NULL), 0);
        if (is(json_get_str(ev, "type"), type) && n-- == 0)
            return ev;
        json_decref(ev);
    }
    return NULL;
}
