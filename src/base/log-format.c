#include "log-internal.h"

#define STRING_MAX 2048

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* JSON's escapes, which logfmt readers understand too. What is not UTF-8 becomes U+FFFD. */
static void add_escaped(Buf *out, Str seq)
{
    unsigned char c = (unsigned char)seq.ptr[0];
    if (c == '"' || c == '\\')
        buf_addf(out, "\\%c", c);
    else if (c == '\n')
        buf_addz(out, "\\n");
    else if (c == '\r')
        buf_addz(out, "\\r");
    else if (c == '\t')
        buf_addz(out, "\\t");
    else if (c < 0x20 || c == 0x7f)
        buf_addf(out, "\\u%04x", c);
    else if (c == 0xc2 && (unsigned char)seq.ptr[1] < 0xa0) /* C1 controls drive terminals as well */
        buf_addf(out, "\\u%04x", (unsigned char)seq.ptr[1]);
    else
        buf_adds(out, seq);
}

static void add_quoted(Buf *out, Str s)
{
    buf_addc(out, '"');
    for (size_t at = 0; at < s.len;) {
        size_t seq = str_utf8_seq((Str){s.ptr + at, s.len - at});
        if (at + seq > STRING_MAX) {
            buf_addz(out, "...");
            break;
        }
        if (seq)
            add_escaped(out, (Str){s.ptr + at, seq});
        else
            buf_addz(out, "\\ufffd");
        at += seq ? seq : 1;
    }
    buf_addc(out, '"');
}

static bool is_bare(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] > '~' || s.ptr[i] == '"' || s.ptr[i] == '=' || s.ptr[i] == '\\')
            return false;
    return s.len > 0 && s.len <= STRING_MAX;
}

/* Puts the separator and the key; the value follows. */
static void add_key(Buf *out, const LogLine *line, const char *key)
{
    if (line->json) {
        buf_addc(out, out->len ? ',' : '{');
        add_quoted(out, str_from(key));
        buf_addc(out, ':');
    } else {
        if (out->len)
            buf_addc(out, ' ');
        buf_addf(out, "%s=", key);
    }
}

static void add_string(Buf *out, const LogLine *line, const char *key, Str value)
{
    add_key(out, line, key);
    if (!line->json && is_bare(value))
        buf_adds(out, value);
    else
        add_quoted(out, value);
}

static void add_field(Buf *out, const LogLine *line, const LogField *f)
{
    if (f->type == LOG_FIELD_STR) {
        add_string(out, line, f->key, f->str);
        return;
    }
    add_key(out, line, f->key);
    if (f->type == LOG_FIELD_INT)
        buf_add_i64(out, f->num);
    else if (f->type == LOG_FIELD_UINT)
        buf_add_u64(out, (uint64_t)f->num);
    else
        buf_addz(out, f->num ? "true" : "false");
}

void log_format(Buf *out, const LogLine *line)
{
    char time[RFC3339_MAX];
    add_string(out, line, "time", rfc3339_format(line->time, time));
    add_string(out, line, "level", str_from(line->level < LOG_OFF ? level_names[line->level] : "error"));
    if (line->program)
        add_string(out, line, "program", str_from(line->program));
    add_string(out, line, "msg", str_from(line->msg));
    for (const LogField *f = line->fields; f && f->type != LOG_FIELD_END; f++)
        add_field(out, line, f);
    buf_addz(out, line->json ? "}\n" : "\n");
}
