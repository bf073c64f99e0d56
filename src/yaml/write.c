#include "yaml/yaml.h"

#include "scalar-internal.h"

#define KEY_MAX                                                                                              \
    1000 /* a key longer than 1,024 characters needs another syntax (YAML 1.2.2, section 7.4.2)              \
          */

typedef struct Writer {
    Buf *out;
    int result;
    Err *err;
} Writer;

/* Characters that are printed as they are: no control characters, and no line breaks of any YAML version. */
static bool is_printable(Str s, bool allow_newline)
{
    for (size_t at = 0; at < s.len;) {
        unsigned char c = (unsigned char)s.ptr[at];
        size_t seq = str_utf8_seq((Str){s.ptr + at, s.len - at});
        Str character = {s.ptr + at, seq};
        if (!seq || (c < 0x20 && !(c == '\n' && allow_newline)) || c == 0x7f)
            return false;
        if (seq == 2 && c == 0xc2 && (unsigned char)s.ptr[at + 1] < 0xa0)
            return false;
        if (str_eqz(character, "\xe2\x80\xa8") || str_eqz(character, "\xe2\x80\xa9") ||
            str_eqz(character, "\xef\xbb\xbf") || str_eqz(character, "\xef\xbf\xbe") ||
            str_eqz(character, "\xef\xbf\xbf"))
            return false;
        at += seq;
    }
    return true;
}

static bool is_plain(Str s)
{
    if (!s.len || !is_printable(s, false) || !scalar_is_string_everywhere(s))
        return false;
    if (strchr(" -?:,[]{}#&*!|>'\"%@`", s.ptr[0]) || s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == ':')
        return false;
    return str_find(s, STR(": ")) < 0 && str_find(s, STR(" #")) < 0;
}

/* JSON's strings are YAML's double-quoted ones; only what YAML cannot print is escaped as well. */
static void write_quoted(Buf *b, Str s)
{
    CLEANUP_BUF Buf quoted = BUF_INIT(b->max);
    json_write_str_plain(&quoted, s);
    if (is_printable(buf_str(&quoted), false)) {
        buf_adds(b, buf_str(&quoted));
        return;
    }
    for (size_t at = 0; at < quoted.len;) {
        Str rest = {quoted.data + at, quoted.len - at};
        Str one = {rest.ptr, str_utf8_seq(rest)};
        unsigned char c = (unsigned char)one.ptr[0];
        if (is_printable(one, false))
            buf_adds(b, one);
        else if (one.len == 1)
            buf_addf(b, "\\x%02x", c);
        else if (one.len == 2)
            buf_addf(b, "\\x%02x", (unsigned char)one.ptr[1]);
        else
            buf_addf(b, "\\u%04x", (c & 15) << 12 | (one.ptr[1] & 63) << 6 | (one.ptr[2] & 63));
        at += one.len;
    }
}

static void indent(Buf *b, unsigned level)
{
    for (unsigned i = 0; i < level * 2; i++)
        buf_addc(b, ' ');
}

/* A text of several lines that a literal block scalar (|) holds without an indentation indicator. */
static bool is_literal(Str s)
{
    return s.len > 1 && str_find_byte(s, '\n') >= 0 && s.ptr[0] != ' ' && s.ptr[0] != '\n' &&
           is_printable(s, true);
}

static void write_literal(Buf *b, Str s, unsigned level)
{
    bool ends = str_ends(s, STR("\n")), ends_more = str_ends(s, STR("\n\n"));
    buf_addz(b, ends_more ? "|+" : ends ? "|" : "|-");
    if (ends)
        s.len--;
    for (Str rest = s; rest.ptr;) {
        Str line = str_cut(&rest, '\n');
        buf_addc(b, '\n');
        if (line.len)
            indent(b, level);
        buf_adds(b, line);
    }
}

static void write_string(Buf *b, Str s, unsigned level)
{
    if (is_literal(s))
        write_literal(b, s, level);
    else if (is_plain(s))
        buf_adds(b, s);
    else
        write_quoted(b, s);
}

static void write_key(Writer *w, const char *key)
{
    Str s = str_from(key);
    if (s.len > KEY_MAX) {
        w->result = err_set(w->err, ERR_INVALID, "YAML: a key is longer than %d bytes", KEY_MAX);
        return;
    }
    if (is_plain(s))
        buf_adds(w->out, s);
    else
        write_quoted(w->out, s);
    buf_addc(w->out, ':');
}

static bool is_block(const json_t *v)
{
    return json_is_array(v) ? json_array_size(v) > 0 : json_is_object(v) && json_object_size(v) > 0;
}

static void write_scalar(Writer *w, const json_t *v, unsigned level)
{
    if (json_is_string(v))
        write_string(w->out, (Str){json_string_value(v), json_string_length(v)}, level);
    else
        json_write_plain(w->out, v); /* numbers, true, null, {} and [] are the same in both */
}

static void write_block(Writer *w, const json_t *v, unsigned level);

/* A sequence stands at the indentation of the key that it belongs to, as kubectl prints it. */
static void write_member(Writer *w, const char *key, const json_t *v, unsigned level)
{
    write_key(w, key);
    if (!is_block(v)) {
        buf_addc(w->out, ' ');
        write_scalar(w, v, level + 1);
        buf_addc(w->out, '\n');
        return;
    }
    unsigned inner = json_is_array(v) ? level : level + 1;
    buf_addc(w->out, '\n');
    indent(w->out, inner);
    write_block(w, v, inner);
}

/* The first line's indentation is written by the caller: it may be the "- " of a sequence. */
static void write_block(Writer *w, const json_t *v, unsigned level)
{
    if (level > 2 * JSON_DEPTH_MAX)
        w->out->failed = true;
    if (w->out->failed || w->result < 0)
        return;
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *element = json_array_get(v, i);
        if (i)
            indent(w->out, level);
        buf_addz(w->out, "- ");
        if (is_block(element)) {
            write_block(w, element, level + 1);
            continue;
        }
        write_scalar(w, element, level + 1);
        buf_addc(w->out, '\n');
    }
    json_t *object = (json_t *)(uintptr_t)v; /* jansson's iterator takes no const */
    bool first = true;
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        if (!first)
            indent(w->out, level);
        first = false;
        write_member(w, json_object_iter_key(it), json_object_iter_value(it), level);
    }
}

int yaml_write(Buf *b, const json_t *v, Err *err)
{
    Writer w = {.out = b, .err = err};
    if (is_block(v)) {
        write_block(&w, v, 0);
    } else {
        write_scalar(&w, v, 1);
        buf_addc(b, '\n');
    }
    return w.result < 0 ? w.result : buf_check(b, err);
}
