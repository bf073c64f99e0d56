#include "json/json.h"

/* Parsed values are at most JSON_DEPTH_MAX deep, and we wrap them a few levels more. */
#define WRITE_DEPTH_MAX (2 * JSON_DEPTH_MAX)

typedef struct Style {
    bool html; /* escape <, >, & and U+2028/9, as Go does */
    bool pretty;
    unsigned indent; /* per level */
} Style;

/* Two-letter escape of an ASCII byte, 'u' when it needs \u00xx, 0 when it stands for itself. */
static char escape_of(unsigned char c, bool html)
{
    static const char letters[0x20] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    if (c < 0x20)
        return letters[c] ? letters[c] : 'u';
    if (c == '"' || c == '\\')
        return (char)c;
    return html && (c == '<' || c == '>' || c == '&') ? 'u' : 0;
}

static void add_escape(Buf *b, char letter, unsigned char c)
{
    if (letter == 'u')
        buf_addf(b, "\\u%04x", c);
    else
        buf_add(b, (const char[]){'\\', letter}, 2);
}

static void write_str(Buf *b, Str s, bool html)
{
    buf_addc(b, '"');
    size_t clean = 0; /* start of what needs no escape and is not yet added */
    for (size_t at = 0; at < s.len;) {
        unsigned char c = (unsigned char)s.ptr[at];
        size_t seq = c < 0x80 ? 1 : str_utf8_seq((Str){s.ptr + at, s.len - at});
        char letter = c < 0x80 ? escape_of(c, html) : 0;
        bool separator = html && c == 0xe2 && seq == 3 &&
                         (s.ptr[at + 2] == '\xa8' || s.ptr[at + 2] == '\xa9') && s.ptr[at + 1] == '\x80';
        if (seq && !letter && !separator) {
            at += seq;
            continue;
        }
        buf_add(b, s.ptr + clean, at - clean);
        if (letter)
            add_escape(b, letter, c);
        else if (separator)
            buf_addf(b, "\\u202%c", s.ptr[at + 2] == '\xa8' ? '8' : '9');
        else
            buf_addz(b, "\\ufffd");
        at += seq ? seq : 1;
        clean = at;
    }
    if (s.len > clean)
        buf_add(b, s.ptr + clean, s.len - clean);
    buf_addc(b, '"');
}

void json_write_str(Buf *b, Str s)
{
    write_str(b, s, true);
}

void json_write_str_plain(Buf *b, Str s)
{
    write_str(b, s, false);
}

static void new_line(Buf *b, const Style *style, unsigned depth)
{
    if (!style->pretty)
        return;
    buf_addc(b, '\n');
    for (unsigned i = 0; i < depth * style->indent; i++)
        buf_addc(b, ' ');
}

static void write_value(Buf *b, const json_t *v, const Style *style, unsigned depth);

static void write_object(Buf *b, json_t *v, const Style *style, unsigned depth)
{
    bool first = true;
    buf_addc(b, '{');
    for (void *it = json_object_iter(v); it; it = json_object_iter_next(v, it)) {
        if (!first)
            buf_addc(b, ',');
        first = false;
        new_line(b, style, depth + 1);
        write_str(b, (Str){json_object_iter_key(it), json_object_iter_key_len(it)}, style->html);
        buf_addz(b, style->pretty ? ": " : ":");
        write_value(b, json_object_iter_value(it), style, depth + 1);
    }
    if (!first)
        new_line(b, style, depth);
    buf_addc(b, '}');
}

static void write_array(Buf *b, const json_t *v, const Style *style, unsigned depth)
{
    size_t n = json_array_size(v);
    buf_addc(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_addc(b, ',');
        new_line(b, style, depth + 1);
        write_value(b, json_array_get(v, i), style, depth + 1);
    }
    if (n)
        new_line(b, style, depth);
    buf_addc(b, ']');
}

static void write_value(Buf *b, const json_t *v, const Style *style, unsigned depth)
{
    if (depth > WRITE_DEPTH_MAX)
        b->failed = true;
    if (b->failed)
        return;
    switch (v ? json_typeof(v) : JSON_NULL) {
    case JSON_OBJECT:
        write_object(b, (json_t *)(uintptr_t)v, style, depth); /* jansson's iterator takes no const */
        break;
    case JSON_ARRAY:
        write_array(b, v, style, depth);
        break;
    case JSON_STRING:
        write_str(b, (Str){json_string_value(v), json_string_length(v)}, style->html);
        break;
    case JSON_INTEGER:
        buf_add_i64(b, json_integer_value(v));
        break;
    case JSON_REAL:
        json_write_double(b, json_real_value(v));
        break;
    case JSON_TRUE:
        buf_addz(b, "true");
        break;
    case JSON_FALSE:
        buf_addz(b, "false");
        break;
    case JSON_NULL:
        buf_addz(b, "null");
        break;
    }
}

void json_write(Buf *b, const json_t *v)
{
    write_value(b, v, &(const Style){.html = true}, 0);
}

void json_write_plain(Buf *b, const json_t *v)
{
    write_value(b, v, &(const Style){0}, 0);
}

void json_write_pretty(Buf *b, const json_t *v, unsigned indent)
{
    write_value(b, v, &(const Style){.html = true, .pretty = true, .indent = indent}, 0);
    buf_addc(b, '\n');
}

void json_key(Buf *b, bool *first, const char *key)
{
    if (!*first)
        buf_addc(b, ',');
    *first = false;
    json_write_str(b, str_from(key));
    buf_addc(b, ':');
}
