#include "conn-out-internal.h"

#include <assert.h>

enum {
    SCRATCH_MAX = 128 << 10,
    SCRATCH_FLUSH = 32 << 10,
    BY_REFERENCE = 4 << 10, /* copying less is cheaper than keeping a reference */
};

void conn_out_scratch_init(Buf *scratch)
{
    buf_init(scratch, SCRATCH_MAX);
}

void conn_out_end(ConnOut *o)
{
    assert(!o->scratch->failed);
    if (o->scratch->len > 0)
        conn_write(o->conn, buf_str(o->scratch));
    buf_clear(o->scratch);
}

void conn_out_write(ConnOut *o, Str bytes)
{
    if (o->scratch->len + bytes.len > SCRATCH_MAX)
        conn_out_end(o);
    if (bytes.len > SCRATCH_MAX)
        conn_write(o->conn, bytes);
    else
        buf_adds(o->scratch, bytes);
    if (o->scratch->len >= SCRATCH_FLUSH)
        conn_out_end(o);
}

static void frame_release(void *f)
{
    grpc_frame_unref(f);
}

void conn_out_write_frame(ConnOut *o, GrpcFrame *f, Str part)
{
    if (part.len < BY_REFERENCE) {
        conn_out_write(o, part);
        return;
    }
    conn_out_end(o);
    conn_write_ref(o->conn, part, frame_release, grpc_frame_ref(f));
}

bool conn_out_full(const ConnOut *o)
{
    return o->scratch->len + conn_out_len(o->conn) >= o->max;
}
