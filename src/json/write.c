#include "json/json.h"

/* Parsed values are at most JSON_DEPTH_MAX deep, and we wrap them a few levels more. */
#define WRITE_DEPTH_MAX (2 * JSON_DEPTH_MAX)

typedef struct Style {
    bool html; /* escape <, >, & and U+2028/9, as Go does */
    bool pretty;
    unsigned indent; /* per level */
} Style;

/* What a byte needs. 0: nothing; U: four hex digits; M: a look at the bytes behind it; else that letter. */
#define U 'u'
#define M 'M'
#define NEEDS_ALWAYS                                                                                         \
    [0 ... 7] = U, ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', [0x0b] = U, ['\f'] = 'f', ['\r'] = 'r',         \
           [0x0e ... 0x1f] = U, ['"'] = '"', ['\\'] = '\\', [0x80 ... 0xff] = M
static const char needs[256] = {NEEDS_ALWAYS};
static const char needs_html[256] = {NEEDS_ALWAYS, ['<'] = U, ['>'] = U, ['&'] = U};

static void add_escape(Buf *b, char letter, unsigned char c)
{
    if (letter == U)
        buf_addf(b, "\\u%04x", c);
    else
        buf_add(b, (const char[]){'\\', letter}, 2);
}

static bool is_line_separator(Str s)
{
    return str_starts(s, STR("\xe2\x80\xa8")) || str_starts(s, STR("\xe2\x80\xa9"));
}

static void write_str(Buf *b, Str s, bool html)
{
    const char *table = html ? needs_html : needs;
    buf_addc(b, '"');
    size_t clean = 0; /* start of what is not added yet and goes as it is */
    for (size_t at = 0; at < s.len;) {
        unsigned char c = (unsigned char)s.ptr[at];
        if (!table[c]) {
            at++;
            continue;
        }
        Str rest = {s.ptr + at, s.len - at};
        size_t seq = table[c] == M ? str_utf8_seq(rest) : 1;
        bool separator = html && c == 0xe2 && is_line_separator(rest);
        if (table[c] == M && seq && !separator) {
            at += seq;
            continue;
        }
        buf_add(b, s.ptr + clean, at - clean);
        if (!seq)
            buf_addz(b, "\\ufffd");
        else if (separator)
            buf_addf(b, "\\u202%c", s.ptr[at + 2] == '\xa8' ? '8' : '9');
        else
            add_escape(b, table[c], c);
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
