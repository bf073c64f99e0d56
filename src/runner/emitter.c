#include "emitter-internal.h"

#include "utf8.h"

static void open_text_init(OpenText *t)
{
    buf_init(&t->text, RECORD_TEXT_MAX);
    redact_stream_init(&t->redact);
}

static void open_text_done(OpenText *t)
{
    buf_done(&t->text);
    redact_stream_done(&t->redact);
}

Emitter *emitter_new(const EmitterOps *ops, void *arg, const Clock *clock, const RedactSet *redact)
{
    Emitter *e = xnew(Emitter);

    e->ops = *ops;
    e->arg = arg;
    e->clock = clock;
    e->redact = redact;
    list_init(&e->tools);
    open_text_init(&e->text);
    open_text_init(&e->reasoning);
    buf_init(&e->out, (size_t)64 << 20);
    return e;
}

Emitter *emitter_free(Emitter *e)
{
    if (!e)
        return NULL;
    e->ops = (EmitterOps){0};
    while (!list_empty(&e->tools))
        tool_free(LIST_ENTRY(e->tools.next, OpenTool, link));
    snapshot_end(e);
    open_text_done(&e->text);
    open_text_done(&e->reasoning);
    buf_done(&e->out);
    free(e->thread_id);
    free(e->run_id);
    free(e);
    return NULL;
}

bool emitter_active(const Emitter *e)
{
    return e->active;
}

const char *emitter_run_id(const Emitter *e)
{
    return e->run_id ? e->run_id : "";
}

void emitter_ids(Emitter *e, AguiWriter *w)
{
    agui_str(w, "thread_id", str_from(e->thread_id));
    agui_str(w, "run_id", str_from(e->run_id));
}

void emitter_send(Emitter *e, AguiWriter *w, AguiType type, Str key)
{
    agui_end(w);
    if (!e->out.failed)
        e->ops.on_event(e->arg, &(AguiEvent){type, buf_str(&e->out), key});
    if (e->out.cap > AGUI_EVENT_MAX)
        buf_done(&e->out); /* memory of one huge event is not kept */
}

/* ---- run ---- */

/* The input as it is shown: texts cut, and when it still is too much only the last message. */
static json_t *shown_messages(const RunInput *in, bool last_only)
{
    json_t *out = json_array();
    size_t n = json_array_size(in->messages);

    for (size_t i = last_only && n > 0 ? n - 1 : 0; i < n; i++) {
        json_t *m = json_copy(json_array_get(in->messages, i));
        Str content = json_get_strv(m, "content");
        if (content.ptr)
            json_object_set_new(m, "content",
                                json_strv(str_slice(content, 0, utf8_cut(content, AGUI_CONTENT_MAX))));
        else if (last_only)
            json_object_del(m, "content");
        json_array_append_new(out, m);
    }
    return out;
}

static void write_input(Emitter *e, AguiWriter *w, const RunInput *in, bool last_only)
{
    AguiWriter o = {w->b, true};
    CLEANUP_JSON json_t *messages = shown_messages(in, last_only);
    CLEANUP_JSON json_t *none = json_object();
    CLEANUP_JSON json_t *empty = json_array();

    json_key(w->b, &w->first, "input");
    buf_addc(w->b, '{');
    agui_str(&o, "threadId", str_from(e->thread_id));
    agui_str(&o, "runId", str_from(e->run_id));
    agui_str(&o, "parentRunId", str_from(in->parent_run_id));
    agui_json(&o, "state", in->state && !last_only ? in->state : none);
    agui_json(&o, "messages", messages);
    agui_json(&o, "tools", in->tools && !last_only ? in->tools : empty);
    agui_json(&o, "context", in->context && !last_only ? in->context : empty);
    agui_json(&o, "forwardedProps", in->forwarded && !last_only ? in->forwarded : none);
    buf_addc(w->b, '}');
}

static AguiWriter write_started(Emitter *e, const EmitRun *run, bool last_only)
{
    const char *parent =
        run->input && run->input->parent_run_id ? run->input->parent_run_id : run->parent_run_id;
    AguiWriter w = agui_begin(&e->out, AGUI_RUN_STARTED);

    agui_stamp(&w, e->clock);
    agui_str(&w, "threadId", str_from(e->thread_id));
    agui_str(&w, "runId", str_from(e->run_id));
    agui_str(&w, "parentRunId", str_from(parent));
    if (run->input)
        write_input(e, &w, run->input, last_only);
    return w;
}

void emit_run_started(Emitter *e, const EmitRun *run)
{
    if (e->active)
        emit_run_error(e, "another run began before this one ended", "RUNNER_ERROR");
    free(e->thread_id);
    free(e->run_id);
    e->thread_id = xstrdup(run->input && run->input->thread_id ? run->input->thread_id : run->thread_id);
    e->run_id = xstrdup(run->input ? run->input->run_id : run->run_id);
    e->seq = run->seq;
    e->active = true;
    snapshot_begin(e, run->input);
    AguiWriter w = write_started(e, run, false);
    if (e->out.len >= AGUI_EVENT_MAX)
        w = write_started(e, run, true);
    emitter_send(e, &w, AGUI_RUN_STARTED, STR(""));
    record_run(e, "run_started", NULL);
    if (!run->input || !run->input->state)
        return;
    w = agui_begin(&e->out, AGUI_STATE_SNAPSHOT);
    agui_json(&w, "snapshot", run->input->state);
    if (e->out.len < AGUI_EVENT_MAX)
        emitter_send(e, &w, AGUI_STATE_SNAPSHOT, STR(""));
}

/* Everything that is open ends, tools first. */
static void close_all(Emitter *e, bool finished)
{
    tools_close_all(e);
    emit_reasoning_end(e);
    emit_text_end(e);
    snapshot_send(e);
    if (finished)
        record_snapshot(e);
    snapshot_end(e);
}

void emit_run_finished(Emitter *e, const json_t *result)
{
    if (!e->active)
        return;
    close_all(e, true);
    AguiWriter w = agui_begin(&e->out, AGUI_RUN_FINISHED);
    agui_stamp(&w, e->clock);
    agui_str(&w, "threadId", str_from(e->thread_id));
    agui_str(&w, "runId", str_from(e->run_id));
    agui_json(&w, "result", result);
    e->active = false;
    record_run(e, "run_finished", result);
    emitter_send(e, &w, AGUI_RUN_FINISHED, STR(""));
}

void emit_run_error(Emitter *e, const char *message, const char *code)
{
    CLEANUP_BUF Buf clean = BUF_INIT(AGUI_CONTENT_MAX);

    if (!e->active)
        return;
    close_all(e, false);
    redact_text(e->redact, str_from(message), &clean);
    AguiWriter w = agui_begin(&e->out, AGUI_RUN_ERROR);
    agui_stamp(&w, e->clock);
    agui_str(&w, "message", buf_str(&clean));
    agui_str(&w, "code", str_from(code));
    emitter_ids(e, &w);
    e->active = false;
    record_error(e, buf_str(&clean), code);
    emitter_send(e, &w, AGUI_RUN_ERROR, STR(""));
}

/* ---- text ---- */

static void text_event(Emitter *e, AguiType type, Str delta)
{
    AguiWriter w = agui_begin(&e->out, type);

    if (type != AGUI_TEXT_MESSAGE_CONTENT)
        agui_stamp(&w, e->clock);
    agui_str(&w, "messageId", str_from(e->text.id));
    if (type == AGUI_TEXT_MESSAGE_START)
        agui_str(&w, "role", STR("assistant"));
    agui_str(&w, "delta", delta);
    emitter_ids(e, &w);
    emitter_send(e, &w, type, str_from(e->text.id));
}

static void reasoning_event(Emitter *e, AguiType type, Str delta)
{
    AguiWriter w = agui_begin(&e->out, type);

    agui_str(&w, "threadId", str_from(e->thread_id));
    agui_str(&w, "runId", str_from(e->run_id));
    agui_str(&w, "messageId", str_from(e->reasoning.id));
    if (type == AGUI_REASONING_MESSAGE_START)
        agui_str(&w, "role", STR("reasoning"));
    agui_str(&w, "delta", delta);
    if (type != AGUI_REASONING_MESSAGE_CONTENT)
        agui_stamp(&w, e->clock);
    emitter_send(e, &w, type, str_from(e->reasoning.id));
}

typedef void (*SendEvent)(Emitter *e, AguiType type, Str delta);

#define CUT_NOTE "\n... (truncated)"

/* Keeps text for the log as far as a record can hold it. */
static void keep(OpenText *t, Str clean)
{
    size_t room = t->text.max - t->text.len - sizeof(CUT_NOTE);

    if (t->cut)
        return;
    t->cut = clean.len > room;
    buf_adds(&t->text, str_slice(clean, 0, utf8_cut(clean, room)));
    if (t->cut)
        buf_addz(&t->text, CUT_NOTE);
}

/* Hands on clean text in pieces of readable size. */
static void send_pieces(Emitter *e, OpenText *t, SendEvent send, AguiType type, Str clean)
{
    keep(t, clean);
    while (clean.len > 0) {
        size_t n = utf8_cut(clean, AGUI_DELTA_MAX);
        send(e, type, str_slice(clean, 0, n));
        clean = str_slice(clean, n, clean.len);
    }
}

static void open_text(OpenText *t)
{
    uuid_new(t->id);
    t->open = true;
    t->cut = false;
    buf_done(&t->text);
}

void emit_text(Emitter *e, Str delta)
{
    CLEANUP_BUF Buf clean = BUF_INIT(SIZE_MAX / 2);

    if (!e->active || delta.len == 0)
        return;
    emit_reasoning_end(e);
    if (!e->text.open) {
        open_text(&e->text);
        text_event(e, AGUI_TEXT_MESSAGE_START, STR_NULL);
    }
    redact_stream(e->redact, &e->text.redact, delta, &clean);
    send_pieces(e, &e->text, text_event, AGUI_TEXT_MESSAGE_CONTENT, buf_str(&clean));
}

void emit_text_end(Emitter *e)
{
    CLEANUP_BUF Buf clean = BUF_INIT(SIZE_MAX / 2);

    if (!e->text.open)
        return;
    redact_stream_end(e->redact, &e->text.redact, &clean);
    send_pieces(e, &e->text, text_event, AGUI_TEXT_MESSAGE_CONTENT, buf_str(&clean));
    text_event(e, AGUI_TEXT_MESSAGE_END, STR_NULL);
    e->text.open = false;
    snapshot_text(e, e->text.id, "assistant", buf_str(&e->text.text));
    record_text(e, "assistant", buf_str(&e->text.text));
    buf_done(&e->text.text);
}

void emit_reasoning(Emitter *e, Str delta)
{
    CLEANUP_BUF Buf clean = BUF_INIT(SIZE_MAX / 2);

    if (!e->active || delta.len == 0)
        return;
    emit_text_end(e);
    if (!e->reasoning.open) {
        open_text(&e->reasoning);
        reasoning_event(e, AGUI_REASONING_START, STR_NULL);
        reasoning_event(e, AGUI_REASONING_MESSAGE_START, STR_NULL);
    }
    redact_stream(e->redact, &e->reasoning.redact, delta, &clean);
    send_pieces(e, &e->reasoning, reasoning_event, AGUI_REASONING_MESSAGE_CONTENT, buf_str(&clean));
}

void emit_reasoning_end(Emitter *e)
{
    CLEANUP_BUF Buf clean = BUF_INIT(SIZE_MAX / 2);

    if (!e->reasoning.open)
        return;
    redact_stream_end(e->redact, &e->reasoning.redact, &clean);
    send_pieces(e, &e->reasoning, reasoning_event, AGUI_REASONING_MESSAGE_CONTENT, buf_str(&clean));
    reasoning_event(e, AGUI_REASONING_MESSAGE_END, STR_NULL);
    reasoning_event(e, AGUI_REASONING_END, STR_NULL);
    e->reasoning.open = false;
    snapshot_text(e, e->reasoning.id, "reasoning", buf_str(&e->reasoning.text));
    buf_done(&e->reasoning.text);
}

/* ---- the rest ---- */

/* Values come from agents: secrets may stand in any string of them, so the text is cleaned and read again. */
static json_t *clean_value(const Emitter *e, const json_t *value)
{
    CLEANUP_BUF Buf text = BUF_INIT(AGUI_EVENT_MAX);
    CLEANUP_BUF Buf clean = BUF_INIT(AGUI_EVENT_MAX);
    json_t *v = NULL;

    json_write_plain(&text, value);
    redact_text(e->redact, buf_str(&text), &clean);
    if (text.failed || clean.failed || json_parse(buf_str(&clean), &v, NULL) < 0)
        return json_null();
    return v;
}

void emit_custom(Emitter *e, const char *name, const json_t *value, bool durable)
{
    CLEANUP_JSON json_t *clean = clean_value(e, value);

    if (e->active) {
        AguiWriter w = agui_begin(&e->out, AGUI_CUSTOM);
        agui_str(&w, "name", str_from(name));
        agui_json(&w, "value", clean);
        emitter_send(e, &w, AGUI_CUSTOM, STR(""));
    }
    if (durable)
        record_custom(e, name, clean);
}

void emit_notice(Emitter *e, const char *text)
{
    CLEANUP_BUF Buf clean = BUF_INIT(AGUI_CONTENT_MAX);

    redact_text(e->redact, str_from(text), &clean);
    record_text(e, "system", buf_str(&clean));
}
