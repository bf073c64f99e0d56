#include "agui.h"

#include <assert.h>
#include "utf8.h"

static const struct {
    const char *name;
    AguiPart part;
} types[] = {
    [AGUI_RUN_STARTED] = {"RUN_STARTED", AGUI_WHOLE},
    [AGUI_RUN_FINISHED] = {"RUN_FINISHED", AGUI_WHOLE},
    [AGUI_RUN_ERROR] = {"RUN_ERROR", AGUI_WHOLE},
    [AGUI_TEXT_MESSAGE_START] = {"TEXT_MESSAGE_START", AGUI_OPEN},
    [AGUI_TEXT_MESSAGE_CONTENT] = {"TEXT_MESSAGE_CONTENT", AGUI_MORE},
    [AGUI_TEXT_MESSAGE_END] = {"TEXT_MESSAGE_END", AGUI_CLOSE},
    [AGUI_TOOL_CALL_START] = {"TOOL_CALL_START", AGUI_OPEN},
    [AGUI_TOOL_CALL_ARGS] = {"TOOL_CALL_ARGS", AGUI_MORE},
    [AGUI_TOOL_CALL_END] = {"TOOL_CALL_END", AGUI_CLOSE},
    [AGUI_TOOL_CALL_RESULT] = {"TOOL_CALL_RESULT", AGUI_WHOLE},
    [AGUI_REASONING_START] = {"REASONING_START", AGUI_OPEN},
    [AGUI_REASONING_MESSAGE_START] = {"REASONING_MESSAGE_START", AGUI_MORE},
    [AGUI_REASONING_MESSAGE_CONTENT] = {"REASONING_MESSAGE_CONTENT", AGUI_MORE},
    [AGUI_REASONING_MESSAGE_END] = {"REASONING_MESSAGE_END", AGUI_MORE},
    [AGUI_REASONING_END] = {"REASONING_END", AGUI_CLOSE},
    [AGUI_STATE_SNAPSHOT] = {"STATE_SNAPSHOT", AGUI_WHOLE},
    [AGUI_MESSAGES_SNAPSHOT] = {"MESSAGES_SNAPSHOT", AGUI_WHOLE},
    [AGUI_CUSTOM] = {"CUSTOM", AGUI_WHOLE},
};

const char *agui_name(AguiType t)
{
    assert(t < _AGUI_MAX);
    return types[t].name;
}

AguiPart agui_part(AguiType t)
{
    assert(t < _AGUI_MAX);
    return types[t].part;
}

AguiWriter agui_begin(Buf *b, AguiType t)
{
    AguiWriter w = {b, true};

    buf_clear(b);
    buf_addc(b, '{');
    agui_str(&w, "type", str_from(agui_name(t)));
    return w;
}

void agui_stamp(AguiWriter *w, const Clock *c)
{
    json_key(w->b, &w->first, "timestamp");
    buf_add_i64(w->b, clock_wall(c).us / 1000);
}

void agui_str(AguiWriter *w, const char *key, Str v)
{
    if (!v.ptr)
        return;
    json_key(w->b, &w->first, key);
    json_write_str_plain(w->b, v);
}

void agui_str_cut(AguiWriter *w, const char *key, Str v)
{
    CLEANUP_BUF Buf cut = BUF_INIT(AGUI_CONTENT_MAX + 128);

    if (v.len <= AGUI_CONTENT_MAX) {
        agui_str(w, key, v);
        return;
    }
    size_t n = utf8_cut(v, AGUI_CONTENT_MAX);
    buf_adds(&cut, str_slice(v, 0, n));
    buf_addf(&cut, "\n... (%zu more bytes)", v.len - n);
    agui_str(w, key, buf_str(&cut));
}

void agui_bool(AguiWriter *w, const char *key, bool v)
{
    json_key(w->b, &w->first, key);
    buf_addz(w->b, v ? "true" : "false");
}

void agui_json(AguiWriter *w, const char *key, const json_t *v)
{
    if (!v)
        return;
    json_key(w->b, &w->first, key);
    json_write_plain(w->b, v);
}

void agui_end(AguiWriter *w)
{
    buf_addc(w->b, '}');
}
