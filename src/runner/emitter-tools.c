#include "emitter-internal.h"

static OpenTool *find(const Emitter *e, Str id)
{
    LIST_FOREACH (&e->tools, l) {
        OpenTool *t = LIST_ENTRY(l, OpenTool, link);
        if (str_eqz(id, t->id))
            return t;
    }
    return NULL;
}

bool emit_tool_known(const Emitter *e, Str id)
{
    return find(e, id) != NULL;
}

/* "mcp__server__tool" is shown as "tool". */
static Str short_name(Str name)
{
    if (!str_starts(name, STR("mcp__")))
        return name;
    Str rest = str_slice(name, 5, name.len);
    ptrdiff_t at = str_find(rest, STR("__"));
    return at >= 0 && (size_t)at + 2 < rest.len ? str_slice(rest, (size_t)at + 2, rest.len) : name;
}

void tool_free(OpenTool *t)
{
    list_remove(&t->link);
    buf_done(&t->args);
    redact_stream_done(&t->redact);
    free(t->id);
    free(t->name);
    free(t);
}

void emit_tool_start(Emitter *e, Str id, Str name, Str parent)
{
    if (!e->active || id.len == 0 || find(e, id))
        return;
    emit_reasoning_end(e);
    emit_text_end(e);
    OpenTool *t = xnew(OpenTool);
    t->id = str_dup(id);
    t->name = str_dup(short_name(name));
    buf_init(&t->args, RECORD_TEXT_MAX / 2); /* it is twice in its record */
    redact_stream_init(&t->redact);
    list_push_back(&e->tools, &t->link);
    AguiWriter w = agui_begin(&e->out, AGUI_TOOL_CALL_START);
    agui_stamp(&w, e->clock);
    agui_str(&w, "toolCallId", id);
    agui_str(&w, "toolCallName", str_from(t->name));
    agui_str(&w, "parentMessageId", parent.len > 0 ? parent : STR_NULL);
    emitter_ids(e, &w);
    emitter_send(e, &w, AGUI_TOOL_CALL_START, id);
}

static void send_args(Emitter *e, OpenTool *t, Str clean)
{
    while (clean.len > 0) {
        size_t n = clean.len > AGUI_DELTA_MAX ? AGUI_DELTA_MAX : clean.len;
        while (n > 1 && n < clean.len && ((unsigned char)clean.ptr[n] & 0xc0) == 0x80)
            n--;
        AguiWriter w = agui_begin(&e->out, AGUI_TOOL_CALL_ARGS);
        agui_str(&w, "toolCallId", str_from(t->id));
        agui_str(&w, "delta", str_slice(clean, 0, n));
        emitter_ids(e, &w);
        emitter_send(e, &w, AGUI_TOOL_CALL_ARGS, str_from(t->id));
        clean = str_slice(clean, n, clean.len);
    }
}

void emit_tool_args(Emitter *e, Str id, Str fragment)
{
    OpenTool *t = find(e, id);
    CLEANUP_BUF Buf clean = BUF_INIT(SIZE_MAX / 2);

    if (!t || t->ready)
        return;
    redact_stream(e->redact, &t->redact, fragment, &clean);
    buf_adds(&t->args, buf_str(&clean));
    send_args(e, t, buf_str(&clean));
}

void emit_tool_ready(Emitter *e, Str id)
{
    OpenTool *t = find(e, id);
    CLEANUP_BUF Buf clean = BUF_INIT(SIZE_MAX / 2);

    if (!t || t->ready)
        return;
    redact_stream_end(e->redact, &t->redact, &clean);
    buf_adds(&t->args, buf_str(&clean));
    send_args(e, t, buf_str(&clean));
    t->ready = true;
    record_tool_use(e, t);
    snapshot_tool_call(e, t);
}

/* result or error is left out when NULL. */
static void send_end(Emitter *e, const OpenTool *t, Str result, Str error)
{
    AguiWriter w = agui_begin(&e->out, AGUI_TOOL_CALL_END);

    agui_stamp(&w, e->clock);
    agui_str(&w, "toolCallId", str_from(t->id));
    emitter_ids(e, &w);
    if (result.ptr)
        agui_str_cut(&w, "result", result);
    if (error.ptr)
        agui_str_cut(&w, "error", error);
    emitter_send(e, &w, AGUI_TOOL_CALL_END, str_from(t->id));
}

static void send_result(Emitter *e, Str id, Str content, bool is_error)
{
    CLEANUP_FREE char *message_id = xasprintf(STR_FMT "-result", STR_ARG(id));
    AguiWriter w = agui_begin(&e->out, AGUI_TOOL_CALL_RESULT);

    agui_stamp(&w, e->clock);
    agui_str(&w, "messageId", str_from(message_id));
    agui_str(&w, "toolCallId", id);
    agui_str_cut(&w, "content", content);
    agui_str(&w, "role", STR("tool"));
    if (is_error)
        agui_bool(&w, "isError", true);
    emitter_ids(e, &w);
    emitter_send(e, &w, AGUI_TOOL_CALL_RESULT, id);
}

void emit_tool_result(Emitter *e, Str id, Str content, bool is_error)
{
    OpenTool *t = find(e, id);
    CLEANUP_BUF Buf clean = BUF_INIT(SIZE_MAX / 2);

    if (!e->active || id.len == 0)
        return;
    redact_text(e->redact, content, &clean);
    Str text = buf_str(&clean);
    if (t) {
        emit_tool_ready(e, id);
        send_end(e, t, is_error ? STR_NULL : text, is_error ? text : STR_NULL);
    }
    send_result(e, id, text, is_error);
    snapshot_tool_result(e, id, t ? str_from(t->name) : STR(""), text);
    record_tool_result(e, id, text, is_error);
    if (t)
        tool_free(t);
}

void emit_tool_halt(Emitter *e, Str id)
{
    OpenTool *t = find(e, id);

    if (!t)
        return;
    emit_tool_ready(e, id);
    send_end(e, t, STR_NULL, STR_NULL);
    tool_free(t);
}

void tools_close_all(Emitter *e)
{
    while (!list_empty(&e->tools)) {
        OpenTool *t = LIST_ENTRY(e->tools.next, OpenTool, link);
        emit_tool_ready(e, str_from(t->id));
        send_end(e, t, STR_NULL, STR("interrupted"));
        tool_free(t);
    }
}
