#include "line-reader.h"

void line_reader_init(LineReader *r, size_t line_max)
{
    *r = (LineReader){0};
    buf_init(&r->buf, line_max);
}

void line_reader_done(LineReader *r)
{
    buf_done(&r->buf);
}

/* Memory of one huge line is not kept for the small ones that follow. */
#define KEEP ((size_t)1 << 20)

static void line_emit(LineReader *r, LineFn fn, void *arg)
{
    Str line = buf_str(&r->buf);
    size_t max = r->buf.max;

    if (r->skipping)
        r->dropped++;
    else
        fn(arg, line.len > 0 && line.ptr[line.len - 1] == '\r' ? str_slice(line, 0, line.len - 1) : line);
    r->skipping = false;
    if (r->buf.cap > KEEP) {
        buf_done(&r->buf);
        buf_init(&r->buf, max);
    }
    buf_clear(&r->buf);
}

static void line_append(LineReader *r, Str part)
{
    if (r->skipping || buf_adds(&r->buf, part) == 0)
        return;
    r->skipping = true;
    buf_clear(&r->buf);
}

void line_reader_feed(LineReader *r, Str bytes, LineFn fn, void *arg)
{
    while (bytes.len > 0) {
        ptrdiff_t at = str_find_byte(bytes, '\n');
        if (at < 0) {
            line_append(r, bytes);
            return;
        }
        line_append(r, str_slice(bytes, 0, (size_t)at));
        line_emit(r, fn, arg);
        bytes = str_slice(bytes, (size_t)at + 1, bytes.len);
    }
}

void line_reader_end(LineReader *r, LineFn fn, void *arg)
{
    if (r->buf.len > 0 || r->skipping)
        line_emit(r, fn, arg);
}
