#include "test-internal.h"

#include "base/mem.h"

enum { TEST_BYTES_MAX = 64 << 20 };

void peer_init(Peer *p)
{
    *p = (Peer){.out = BUF_INIT(TEST_BYTES_MAX), .in = BUF_INIT(TEST_BYTES_MAX)};
    p->frame.fields = BUF_INIT(TEST_BYTES_MAX);
    assert_int_equal(nghttp2_hd_deflate_new(&p->deflater, 4096), 0);
    assert_int_equal(nghttp2_hd_inflate_new(&p->inflater), 0);
}

void peer_done(Peer *p)
{
    nghttp2_hd_deflate_del(p->deflater);
    nghttp2_hd_inflate_del(p->inflater);
    buf_done(&p->out);
    buf_done(&p->in);
    buf_done(&p->frame.fields);
}

void peer_raw(Peer *p, Str bytes)
{
    buf_adds(&p->out, bytes);
}

void peer_magic(Peer *p)
{
    peer_raw(p, STR(NGHTTP2_CLIENT_MAGIC));
    peer_frame(p, NGHTTP2_SETTINGS, 0, 0, STR(""));
    peer_frame(p, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, STR("")); /* the windows of ours count from here */
}

void peer_frame(Peer *p, uint8_t type, uint8_t flags, int32_t stream_id, Str payload)
{
    uint8_t head[9] = {(uint8_t)(payload.len >> 16),
                       (uint8_t)(payload.len >> 8),
                       (uint8_t)payload.len,
                       type,
                       flags,
                       (uint8_t)(stream_id >> 24),
                       (uint8_t)(stream_id >> 16),
                       (uint8_t)(stream_id >> 8),
                       (uint8_t)stream_id};
    buf_add(&p->out, head, sizeof(head));
    buf_adds(&p->out, payload);
}

void peer_encode(Peer *p, const char *const *fields, Buf *block)
{
    nghttp2_nv nv[64];
    CLEANUP_BUF Buf text = BUF_INIT(TEST_BYTES_MAX);
    size_t n = 0, at[64][4];
    for (; fields[n]; n++) {
        Str f = str_from(fields[n]);
        size_t colon = 1 + (size_t)str_find(str_slice(f, 1, f.len), STR(": "));
        at[n][0] = text.len;
        at[n][1] = colon;
        at[n][2] = text.len + colon + 2;
        at[n][3] = f.len - colon - 2;
        buf_adds(&text, f);
    }
    for (size_t i = 0; i < n; i++)
        nv[i] = (nghttp2_nv){(uint8_t *)text.data + at[i][0], (uint8_t *)text.data + at[i][2], at[i][1],
                             at[i][3], 0};
    size_t bound = nghttp2_hd_deflate_bound(p->deflater, nv, n);
    uint8_t *out = buf_reserve(block, bound);
    ssize_t len = nghttp2_hd_deflate_hd(p->deflater, out, bound, nv, n);
    assert_true(len >= 0);
    buf_commit(block, (size_t)len);
}

void peer_headers(Peer *p, int32_t stream_id, uint8_t flags, const char *const *fields)
{
    CLEANUP_BUF Buf block = BUF_INIT(TEST_BYTES_MAX);
    peer_encode(p, fields, &block);
    Str rest = buf_str(&block), part = str_slice(rest, 0, 16384);
    rest = str_slice(rest, part.len, rest.len);
    peer_frame(p, NGHTTP2_HEADERS, (uint8_t)(flags | (rest.len ? 0 : NGHTTP2_FLAG_END_HEADERS)), stream_id,
               part);
    while (rest.len > 0) {
        part = str_slice(rest, 0, 16384);
        rest = str_slice(rest, part.len, rest.len);
        peer_frame(p, NGHTTP2_CONTINUATION, rest.len ? 0 : NGHTTP2_FLAG_END_HEADERS, stream_id, part);
    }
}

void peer_data(Peer *p, int32_t stream_id, uint8_t flags, Str bytes)
{
    while (bytes.len > 16384) {
        peer_frame(p, NGHTTP2_DATA, 0, stream_id, str_slice(bytes, 0, 16384));
        bytes = str_slice(bytes, 16384, bytes.len);
    }
    peer_frame(p, NGHTTP2_DATA, flags, stream_id, bytes);
}

static void fields_decode(Peer *p)
{
    PeerFrame *f = &p->frame;
    const uint8_t *in = (const uint8_t *)f->payload.ptr;
    size_t left = f->payload.len;
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t n = nghttp2_hd_inflate_hd2(p->inflater, &nv, &flags, in, left, 1);
        assert_true(n >= 0);
        in += n;
        left -= (size_t)n;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            buf_addf(&f->fields, "%.*s: %.*s\n", (int)nv.namelen, (const char *)nv.name, (int)nv.valuelen,
                     (const char *)nv.value);
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            break;
    }
    nghttp2_hd_inflate_end_headers(p->inflater);
}

bool peer_next(Peer *p)
{
    const uint8_t *h = (const uint8_t *)p->in.data + p->in_pos;
    if (p->in.len - p->in_pos < 9)
        return false;
    size_t len = (size_t)h[0] << 16 | (size_t)h[1] << 8 | h[2];
    if (p->in.len - p->in_pos < 9 + len)
        return false;
    p->in_pos += 9 + len;
    PeerFrame *f = &p->frame;
    f->type = h[3];
    f->flags = h[4];
    f->stream_id = (int32_t)peer_u32((Str){(const char *)h, 9}, 5) & INT32_MAX;
    f->payload = (Str){(const char *)h + 9, len};
    buf_clear(&f->fields);
    if (f->type == NGHTTP2_HEADERS) {
        assert_true(f->flags & NGHTTP2_FLAG_END_HEADERS);
        fields_decode(p);
    }
    return true;
}

PeerFrame *peer_expect(Peer *p, uint8_t type, int32_t stream_id)
{
    while (peer_next(p))
        if (p->frame.type == type && (stream_id < 0 || p->frame.stream_id == stream_id))
            return &p->frame;
    fail_msg("no frame of type %u on stream %d", type, stream_id);
    return NULL;
}

bool peer_saw(Peer *p, uint8_t type)
{
    bool saw = false;
    while (peer_next(p))
        saw |= p->frame.type == type;
    return saw;
}

uint32_t peer_u32(Str payload, size_t at)
{
    assert_true(at + 4 <= payload.len);
    const uint8_t *b = (const uint8_t *)payload.ptr + at;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

void peer_assert_field(const PeerFrame *f, const char *line)
{
    CLEANUP_FREE char *whole = xasprintf("%s\n", line);
    Str text = buf_str(&f->fields);
    ptrdiff_t at = str_find(text, str_from(whole));
    if (at < 0 || (at > 0 && text.ptr[at - 1] != '\n'))
        fail_msg("no field \"%s\" in:\n" STR_FMT, line, STR_ARG(text));
}

Str grpc_framed(Buf *b, Str message)
{
    uint8_t prefix[5] = {0};
    for (int i = 0; i < 4; i++)
        prefix[1 + i] = (uint8_t)(message.len >> (24 - 8 * i));
    buf_add(b, prefix, sizeof(prefix));
    buf_adds(b, message);
    return buf_str(b);
}

/* ---- the sink ---- */

static void sink_write(void *arg, Str bytes)
{
    TestSink *t = arg;
    assert_int_equal(buf_adds(&t->peer->in, bytes), 0);
}

static void sink_write_frame(void *arg, GrpcFrame *f, Str part)
{
    sink_write(arg, part);
}

static bool sink_full(void *arg)
{
    const TestSink *t = arg;
    return t->blocked || (t->max > 0 && t->peer->in.len - t->peer->in_pos >= t->max);
}

static void sink_wake(void *arg)
{
    ((TestSink *)arg)->woken = true;
}

static void sink_due(void *arg, Usec at)
{
    ((TestSink *)arg)->due = at;
}

H2Sink test_sink(TestSink *t)
{
    return (H2Sink){t, sink_write, sink_write_frame, sink_full, sink_wake, sink_due};
}
