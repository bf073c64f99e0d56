/* However a stream is cut into pieces, it gives the same events; the first byte of the input seeds the cuts.
 */
#include <assert.h>
#include "http/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EVENT_MAX 64

static void log_str(Buf *log, Str s)
{
    buf_addf(log, "%zu:", s.len);
    buf_adds(log, s);
}

static void on_event(void *arg, const SseEvent *ev)
{
    assert(ev->data.len <= EVENT_MAX && str_find_byte(ev->id, '\0') < 0);
    log_str(arg, ev->id);
    log_str(arg, ev->event);
    log_str(arg, ev->data);
}

static int decode(Buf *log, Str in, uint32_t seed)
{
    SseDecoder *d = sse_decoder_new(EVENT_MAX, on_event, log);
    int rc = 0;
    for (size_t at = 0; at < in.len && rc == 0;) {
        seed = seed * 1664525U + 1013904223U;
        size_t n = seed ? 1 + (seed >> 24) % 8 : in.len;
        size_t end = n < in.len - at ? at + n : in.len;
        rc = sse_decoder_feed(d, str_slice(in, at, end));
        at = end;
    }
    buf_addf(log, "retry %llu", (unsigned long long)sse_decoder_retry(d));
    sse_decoder_free(d);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    CLEANUP_BUF Buf whole = BUF_INIT(1 << 24), cut = BUF_INIT(1 << 24);
    Str in = {(const char *)data + 1, size - 1};
    int a = decode(&whole, in, 0), b = decode(&cut, in, data[0] + 1U);
    assert(a == b && str_eq(buf_str(&whole), buf_str(&cut)));
    return 0;
}
