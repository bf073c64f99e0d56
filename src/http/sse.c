/* https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation */
#include <assert.h>
#include "base/buf.h"
#include "base/mem.h"
#include "http/client.h"

struct SseDecoder {
    size_t max;
    SseFn fn;
    void *arg;
    Buf line, data, event, id;
    Usec retry;
    bool started;  /* the first line is over: no byte order mark any more */
    bool after_cr; /* a LF that comes now belongs to the line before */
    bool has_data;
    bool too_large, feeding, freed;
};

SseDecoder *sse_decoder_new(size_t event_max, SseFn fn, void *arg)
{
    SseDecoder *d = xnew(SseDecoder);
    d->max = event_max;
    d->fn = fn;
    d->arg = arg;
    d->retry = USEC_NEVER;
    Buf *const parts[] = {&d->line, &d->data, &d->event, &d->id};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        buf_init(parts[i], event_max);
    return d;
}

SseDecoder *sse_decoder_free(SseDecoder *d)
{
    if (!d)
        return NULL;
    d->freed = true;
    if (d->feeding)
        return NULL; /* called from its own callback: sse_decoder_feed() does the rest */
    Buf *const parts[] = {&d->line, &d->data, &d->event, &d->id};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        buf_done(parts[i]);
    free(d);
    return NULL;
}

Usec sse_decoder_retry(const SseDecoder *d)
{
    return d->retry;
}

static void dispatch(SseDecoder *d)
{
    if (d->has_data) {
        SseEvent ev = {.id = buf_str(&d->id), .event = buf_str(&d->event), .data = buf_str(&d->data)};
        d->fn(d->arg, &ev);
    }
    d->has_data = false;
    buf_clear(&d->data);
    buf_clear(&d->event);
}

static void set(SseDecoder *d, Buf *b, Str value)
{
    buf_clear(b);
    buf_adds(b, value);
    d->too_large |= b->failed;
}

static void add_data(SseDecoder *d, Str value)
{
    if (d->has_data)
        buf_addc(&d->data, '\n');
    d->has_data = true;
    buf_adds(&d->data, value);
    d->too_large |= d->data.failed;
}

/* Digits only, else the field is ignored. */
static void set_retry(SseDecoder *d, Str value)
{
    uint64_t ms;
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return;
    if (str_to_u64(value, &ms) == 0 && ms < USEC_NEVER / USEC_PER_MSEC)
        d->retry = ms * USEC_PER_MSEC;
}

static void field(SseDecoder *d, Str name, Str value)
{
    if (str_eqz(name, "data"))
        add_data(d, value);
    else if (str_eqz(name, "event"))
        set(d, &d->event, value);
    else if (str_eqz(name, "id") && str_find_byte(value, '\0') < 0)
        set(d, &d->id, value);
    else if (str_eqz(name, "retry"))
        set_retry(d, value);
}

static void end_line(SseDecoder *d, Str line)
{
    if (!d->started && str_starts(line, STR("\xef\xbb\xbf")))
        line = str_slice(line, 3, line.len);
    d->started = true;
    if (line.len == 0) {
        dispatch(d);
    } else if (line.ptr[0] != ':') {
        Str value = line;
        Str name = str_cut(&value, ':');
        if (value.len > 0 && value.ptr[0] == ' ')
            value = str_slice(value, 1, value.len);
        field(d, name, value);
    }
}

/* Where the line ends in `s`, or s.len. */
static size_t find_eol(Str s)
{
    size_t i = 0;
    while (i < s.len && s.ptr[i] != '\n' && s.ptr[i] != '\r')
        i++;
    return i;
}

/* Takes bytes up to and including one line end. A line that is whole in `s` is not copied. */
static size_t take_line(SseDecoder *d, Str s)
{
    if (d->after_cr && s.ptr[0] == '\n') {
        d->after_cr = false;
        return 1;
    }
    d->after_cr = false;
    size_t eol = find_eol(s);
    Str part = str_slice(s, 0, eol);
    if (eol == s.len || d->line.len > 0) {
        buf_adds(&d->line, part);
        d->too_large |= d->line.failed;
    }
    /* Checked for whole lines too, so that a limit does not depend on how the bytes were cut. */
    size_t line_len = d->line.len > 0 ? d->line.len : part.len;
    d->too_large |= line_len > d->max || d->data.len > d->max - line_len;
    if (eol == s.len || d->too_large)
        return eol;
    d->after_cr = s.ptr[eol] == '\r';
    end_line(d, d->line.len > 0 ? buf_str(&d->line) : part);
    buf_clear(&d->line);
    return eol + 1;
}

int sse_decoder_feed(SseDecoder *d, Str bytes)
{
    assert(!d->feeding);
    d->feeding = true;
    while (bytes.len > 0 && !d->too_large && !d->freed) {
        size_t n = take_line(d, bytes);
        bytes = str_slice(bytes, n, bytes.len);
    }
    d->feeding = false;
    int rc = d->too_large ? -(int)ERR_TOO_LARGE : 0;
    if (d->freed)
        sse_decoder_free(d);
    return rc;
}
