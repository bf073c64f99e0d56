/* A message as it goes over the wire. */
#include "hub-internal.h"

#include "base/mem.h"
#include "pb/ambient.h"
#include "pb/pb.h"

/* grpc-go and grpcio refuse larger messages, and every reconnect would meet it again (grpc.md G35). */
#define GRPC_MESSAGE_MAX ((size_t)4194304)

static char *text(Str s)
{
    return (char *)(uintptr_t)s.ptr; /* generated structs have no const; NUL-terminated by Message's rule */
}

static GrpcFrame *encode_grpc(const Message *m)
{
    char notice[128];
    int64_t us = m->created_at.us;
    int64_t seconds = us / 1000000 - (us % 1000000 < 0);
    Google__Protobuf__Timestamp created = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    created.seconds = seconds;
    created.nanos = (int32_t)(us - seconds * 1000000) * 1000;
    Ambient__V1__SessionMessage msg = AMBIENT__V1__SESSION_MESSAGE__INIT;
    msg.id = (char *)(uintptr_t)m->id;
    msg.session_id = text(m->session_id);
    msg.seq = (int64_t)m->seq;
    msg.event_type = text(m->event_type);
    msg.payload = text(m->payload);
    msg.created_at = &created;
    if (pb_size(&msg.base) > GRPC_MESSAGE_MAX) {
        (void)snprintf(notice, sizeof(notice),
                       "[payload of %zu bytes left out: too large for a gRPC message]", m->payload.len);
        msg.payload = notice;
    }
    return grpc_frame_pack(&msg.base);
}

/* A line that is longer makes the reference's Go client fail at the same message for ever (ui-and-sdk.md 12).
 */
#define SSE_JSON_MAX ((size_t)1000000)

/* As much of the payload as fits, and that it is not all of it: the list has the whole. */
static void cut_to_json(const Message *m, Buf *out)
{
    static const char mark[] = ",\"truncated\":true}";
    Message cut = *m;
    size_t start = out->len, had = SIZE_MAX;
    message_to_json(m, out);
    while (out->len - start > SSE_JSON_MAX && cut.payload.len < had) {
        size_t len = out->len - start + sizeof(mark);
        had = cut.payload.len;
        cut.payload.len = (size_t)((double)had * (double)SSE_JSON_MAX / (double)len);
        while (cut.payload.len && ((unsigned char)m->payload.ptr[cut.payload.len] & 0xc0) == 0x80)
            cut.payload.len--;
        buf_truncate(out, start);
        message_to_json(&cut, out);
        buf_truncate(out, out->len - 1);
        (void)buf_addz(out, mark);
    }
}

static GrpcFrame *encode_sse(const Message *m)
{
    /* JSON makes at most six bytes of one. */
    CLEANUP_BUF Buf b = BUF_INIT(6 * (m->payload.len + m->event_type.len + m->session_id.len) + 1024);
    (void)buf_addf(&b, "id: %llu\ndata: ", (unsigned long long)m->seq);
    cut_to_json(m, &b);
    (void)buf_addz(&b, "\n\n");
    return grpc_frame_raw(buf_str(&b));
}

GrpcFrame *encode_message(const Message *m, HubEncoding enc)
{
    return enc == HUB_SSE ? encode_sse(m) : encode_grpc(m);
}
