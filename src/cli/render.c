#include "render.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "output.h"

#define PREVIEW_LINES 3

struct Render {
    bool color, line_open, run_ended;
};

Render *render_new(void)
{
    Render *r = xnew(Render);
    r->color = use_color();
    return r;
}

Render *render_free(Render *r)
{
    free(r);
    return NULL;
}

/* ---- what a message says, whichever spelling its writer used ---- */

typedef struct Said {
    Str type;
    json_t *payload; /* object, or NULL when the payload is plain text */
    Str text;        /* the payload as text */
} Said;

static const char *const content_members[] = {"content", "result", "delta", "message", "error", "text"};
static const char *const name_members[] = {"tool", "name", "toolCallName", "tool_call_name"};
static const char *const input_members[] = {"input", "arguments", "args"};

static Str first_str(const json_t *obj, const char *const *names, size_t n)
{
    for (size_t i = 0; obj && i < n; i++) {
        Str v = json_get_strv(obj, names[i]);
        if (v.ptr)
            return v;
    }
    return STR_NULL;
}

static void said_of(const json_t *message, Said *s)
{
    s->type = json_get_strv(message, "event_type");
    s->text = json_get_strv(message, "payload");
    s->payload = NULL;
    if (s->text.len && (s->text.ptr[0] == '{' || s->text.ptr[0] == '['))
        (void)json_parse(s->text, &s->payload, NULL);
}

static Str said_content(const Said *s)
{
    Str v = first_str(s->payload, content_members, ARRAY_LEN(content_members));
    return v.ptr ? v : s->payload ? STR_NULL : s->text;
}

/* "k=v k=v" of a tool's input, one line. */
static void input_summary(Buf *b, const Said *s)
{
    json_t *input = NULL;
    for (size_t i = 0; !input && i < ARRAY_LEN(input_members); i++)
        input = json_get_obj(s->payload, input_members[i]);
    const char *key;
    json_t *v;
    json_object_foreach(input, key, v)
    {
        CLEANUP_BUF Buf value = BUF_INIT(1024 * 1024);
        if (json_is_string(v))
            clean_text(&value, (Str){json_string_value(v), json_string_length(v)}, false);
        else
            json_write_plain(&value, v);
        Str text = buf_str(&value);
        bool cut = text.len > 60;
        while (cut && (text.len > 57 || (text.len && ((unsigned char)text.ptr[text.len] & 0xc0) == 0x80)))
            text.len--;
        buf_addf(b, "%s%s=" STR_FMT "%s", b->len ? " " : "", key, STR_ARG(text), cut ? "..." : "");
    }
}

/* ---- live ---- */

static void color(const Render *r, const char *code)
{
    if (r->color)
        printf("\033[%sm", code);
}

static void end_line(Render *r)
{
    if (r->line_open)
        putchar('\n');
    r->line_open = false;
}

static void put_text(Str text)
{
    CLEANUP_BUF Buf b = BUF_INIT(16 * 1024 * 1024);
    clean_text(&b, text, true);
    fwrite(b.data ? b.data : "", 1, b.len, stdout);
}

static void put_line(Render *r, const char *code, const char *prefix, Str text)
{
    end_line(r);
    color(r, code);
    fputs(prefix, stdout);
    put_text(text);
    color(r, "0");
    putchar('\n');
}

static void put_preview(Render *r, Str text)
{
    CLEANUP_BUF Buf b = BUF_INIT(16 * 1024 * 1024);
    Str rest = str_trim(text);
    size_t shown = 0, left = 0;
    while (rest.ptr) {
        Str line = str_cut(&rest, '\n');
        if (shown < PREVIEW_LINES) {
            buf_addz(&b, shown ? "\n  " : "");
            clean_text(&b, line, false);
            shown++;
        } else {
            left++;
        }
    }
    if (left)
        buf_addf(&b, " \xE2\x80\xA6 (+%zu lines)", left);
    put_line(r, "38;5;240", "\xE2\x86\x92 ", buf_str(&b));
}

static RenderEvent run_started(Render *r, bool show)
{
    r->run_ended = false;
    if (show)
        put_line(r, "1;38;5;28", "\xE2\x96\xB6 run started", STR_NULL);
    return RENDER_RUN_STARTED;
}

/* A run's end may be stored twice, once in each spelling: the second one is not told again. */
static RenderEvent run_ended(Render *r, const Said *s, bool failed, bool show)
{
    if (r->run_ended)
        return RENDER_OTHER;
    r->run_ended = true;
    bool plain = !stdout_is_terminal();
    if (show && !failed)
        put_line(r, "1;38;5;28",
                 plain ? "\xE2\x96\xA0 run finished (RUN_FINISHED)" : "\xE2\x96\xA0 run finished", STR_NULL);
    if (show && failed) {
        Str why = said_content(s);
        put_line(r, "1;38;5;196", plain ? "\xE2\x9C\x97 error (RUN_ERROR): " : "\xE2\x9C\x97 error: ", why);
    }
    return failed ? RENDER_RUN_FAILED : RENDER_RUN_FINISHED;
}

static RenderEvent live_lifecycle(Render *r, const Said *s, bool show)
{
    Str event = json_get_strv(s->payload, "event");
    if (str_eq(event, STR("run_started")))
        return run_started(r, show);
    if (str_eq(event, STR("run_finished")))
        return run_ended(r, s, false, show);
    if (show)
        put_line(r, "38;5;240", "lifecycle: ", event.len ? event : s->text);
    return RENDER_OTHER;
}

static RenderEvent live_delta(Render *r, const Said *s)
{
    put_text(json_get_strv(s->payload, "delta"));
    r->line_open = true;
    return RENDER_OTHER;
}

void render_piece(Render *r, Str text)
{
    if (!text.len)
        return;
    put_text(text);
    r->line_open = text.ptr[text.len - 1] != '\n';
}

void render_pieces_end(Render *r)
{
    end_line(r);
}

static RenderEvent live_tool(Render *r, const Said *s)
{
    CLEANUP_BUF Buf b = BUF_INIT(1024 * 1024);
    CLEANUP_BUF Buf input = BUF_INIT(1024 * 1024);
    buf_addc(&b, '[');
    clean_text(&b, first_str(s->payload, name_members, ARRAY_LEN(name_members)), false);
    input_summary(&input, s);
    buf_addf(&b, "] %s", input.data ? input.data : "");
    put_line(r, "1;38;5;36", "", buf_str(&b));
    return RENDER_OTHER;
}

static bool is(const Said *s, const char *type)
{
    return str_eqz(s->type, type);
}

/* What only has to be shown. */
static void live_show(Render *r, const Said *s)
{
    if (is(s, "user") || is(s, "user_feedback"))
        put_line(r, "1", "> ", s->text);
    else if (is(s, "assistant") || is(s, "text"))
        put_line(r, "0", "", str_trim(s->text));
    else if (is(s, "tool_use") || is(s, "TOOL_CALL_START"))
        live_tool(r, s);
    else if (is(s, "tool_result") || is(s, "TOOL_CALL_RESULT"))
        put_preview(r, said_content(s));
    else if (is(s, "TEXT_MESSAGE_CONTENT"))
        live_delta(r, s);
    else if (is(s, "TEXT_MESSAGE_END"))
        end_line(r);
    else if (is(s, "system"))
        put_line(r, "38;5;240", "system: ", said_content(s).ptr ? said_content(s) : s->text);
    else if (!is(s, "MESSAGES_SNAPSHOT") && !str_starts(s->type, STR("TEXT_MESSAGE_")) &&
             !str_starts(s->type, STR("TOOL_CALL_")) && !str_starts(s->type, STR("REASONING_")))
        put_line(r, "38;5;240", "", s->type);
}

RenderEvent render_live(Render *r, const json_t *message, bool show)
{
    Said s;
    said_of(message, &s);
    CLEANUP_JSON json_t *own = s.payload;
    if (is(&s, "lifecycle"))
        return live_lifecycle(r, &s, show);
    if (is(&s, "RUN_STARTED"))
        return r->run_ended || !show ? run_started(r, show) : RENDER_RUN_STARTED;
    if (is(&s, "RUN_FINISHED"))
        return run_ended(r, &s, false, show);
    if (is(&s, "error") || is(&s, "RUN_ERROR"))
        return run_ended(r, &s, true, show);
    if (show)
        live_show(r, &s);
    return RENDER_OTHER;
}

/* ---- snapshot ---- */

static void wrap_line(Str line, size_t width)
{
    do {
        size_t n = line.len;
        if (display_width(line) > width) {
            n = width < line.len ? width : line.len;
            size_t space = n;
            while (space > 0 && line.ptr[space - 1] != ' ')
                space--;
            n = space > width / 2 ? space : n;
            while (n > 1 && n < line.len && ((unsigned char)line.ptr[n] & 0xc0) == 0x80)
                n--;
        }
        printf("      " STR_FMT "\n", STR_ARG(str_slice(line, 0, n)));
        line = str_slice(line, n, line.len);
    } while (line.len);
}

static void stored_text(Buf *b, const Said *s)
{
    if (is(s, "tool_use") || is(s, "TOOL_CALL_START")) {
        CLEANUP_BUF Buf input = BUF_INIT(1024 * 1024);
        input_summary(&input, s);
        clean_text(b, first_str(s->payload, name_members, ARRAY_LEN(name_members)), false);
        buf_addf(b, "  %s", input.data ? input.data : "");
    } else if (is(s, "RUN_FINISHED")) {
        buf_addz(b, "[done]");
    } else if (is(s, "lifecycle")) {
        clean_text(b, json_get_strv(s->payload, "event"), false);
    } else if (is(s, "MESSAGES_SNAPSHOT")) {
        buf_addf(b, "(%zu messages)", json_array_size(s->payload));
    } else {
        Str text = said_content(s);
        clean_text(b, text.ptr ? text : s->text, true);
    }
}

void render_stored(const json_t *message)
{
    Said s;
    said_of(message, &s);
    CLEANUP_JSON json_t *own = s.payload;
    CLEANUP_BUF Buf b = BUF_INIT(16 * 1024 * 1024);
    stored_text(&b, &s);
    Str rest = str_trim(buf_str(&b));
    if (!rest.len)
        return;
    char age[16];
    format_age(age, json_get_str(message, "created_at"));
    printf("#%-4lld  %-28.*s  %s\n", (long long)json_get_int(message, "seq", 0), STR_ARG(s.type), age);
    unsigned columns = terminal_width();
    size_t width = (columns < 40 ? 80 : columns) - 6;
    while (rest.ptr)
        wrap_line(str_cut(&rest, '\n'), width);
    putchar('\n');
}
