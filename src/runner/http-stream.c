#include "http-stream.h"

#include "base/mem.h"

typedef struct EventStream {
    Loop *loop;
    HttpStream *stream;
    TapReader *reader;
} EventStream;

static bool is_writable(void *arg)
{
    EventStream *s = arg;
    return http_stream_writable(s->stream);
}

static void write_bytes(void *arg, Str bytes)
{
    EventStream *s = arg;
    http_stream_write(s->stream, bytes);
}

static void end_answer(void *arg)
{
    EventStream *s = arg;

    http_stream_end(s->stream);
    loop_defer(s->loop, free, s);
}

static void on_drain(void *arg)
{
    EventStream *s = arg;
    tap_resume(s->reader);
}

static void on_gone(void *arg)
{
    EventStream *s = arg;

    tap_detach(s->reader);
    loop_defer(s->loop, free, s);
}

void http_stream_events(Loop *l, HttpReq *req, Tap *tap, const TapOptions *o)
{
    static const TapSink sink = {is_writable, write_bytes, end_answer};
    static const HttpStreamOps ops = {on_drain, on_gone};
    EventStream *s = xnew(EventStream);

    http_reply_header(req, "Content-Type", STR("text/event-stream"));
    http_reply_header(req, "Cache-Control", STR("no-cache"));
    http_reply_header(req, "X-Accel-Buffering", STR("no"));
    s->loop = l;
    s->stream = http_stream_start(req, 200, &ops, s);
    s->reader = tap_attach(tap, &sink, s, o);
    tap_resume(s->reader);
}
