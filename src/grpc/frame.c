#include "grpc/frame.h"

#include <assert.h>
#include "base/mem.h"
#include "pb/pb.h"
#include "text-internal.h"

struct GrpcFrame {
    uint32_t refs;
    uint32_t len; /* prefix and message */
    uint8_t bytes[];
};

static GrpcFrame *frame_alloc_raw(size_t len)
{
    assert(len <= UINT32_MAX);
    GrpcFrame *f = xmalloc(sizeof(*f) + len);
    f->refs = 1;
    f->len = (uint32_t)len;
    return f;
}

static GrpcFrame *frame_alloc(size_t message_len)
{
    GrpcFrame *f = frame_alloc_raw(GRPC_PREFIX_LEN + message_len);
    f->bytes[0] = 0; /* not compressed */
    for (int i = 0; i < 4; i++)
        f->bytes[1 + i] = (uint8_t)(message_len >> (24 - 8 * i));
    return f;
}

GrpcFrame *grpc_frame_new(Str message)
{
    GrpcFrame *f = frame_alloc(message.len);
    if (message.len > 0)
        memcpy(f->bytes + GRPC_PREFIX_LEN, message.ptr, message.len);
    return f;
}

GrpcFrame *grpc_frame_raw(Str bytes)
{
    GrpcFrame *f = frame_alloc_raw(bytes.len);
    if (bytes.len > 0)
        memcpy(f->bytes, bytes.ptr, bytes.len);
    return f;
}

GrpcFrame *grpc_frame_pack(const ProtobufCMessage *msg)
{
    GrpcFrame *f = frame_alloc(pb_size(msg));
    size_t written = pb_pack(msg, f->bytes + GRPC_PREFIX_LEN);
    assert(written + GRPC_PREFIX_LEN == f->len);
    return f;
}

GrpcFrame *grpc_frame_ref(GrpcFrame *f)
{
    assert(f->refs > 0 && f->refs < UINT32_MAX);
    f->refs++;
    return f;
}

GrpcFrame *grpc_frame_unref(GrpcFrame *f)
{
    if (f) {
        assert(f->refs > 0);
        if (--f->refs == 0)
            free(f);
    }
    return NULL;
}

Str grpc_frame_bytes(const GrpcFrame *f)
{
    return (Str){(const char *)f->bytes, f->len};
}
