#include "message-internal.h"

#include <assert.h>

void message_init(MessageReader *r, size_t max)
{
    *r = (MessageReader){0};
    buf_init(&r->body, max);
}

void message_done(MessageReader *r)
{
    buf_done(&r->body);
}

static void prefix_take(MessageReader *r, Str *bytes)
{
    while (r->have < GRPC_PREFIX_LEN && bytes->len > 0) {
        r->prefix[r->have++] = (uint8_t)bytes->ptr[0];
        *bytes = str_slice(*bytes, 1, bytes->len);
    }
}

static MessageResult prefix_check(MessageReader *r)
{
    r->length = (uint32_t)r->prefix[1] << 24 | (uint32_t)r->prefix[2] << 16 | (uint32_t)r->prefix[3] << 8 |
                r->prefix[4];
    if (r->prefix[0] > 1)
        return MESSAGE_BAD_FLAG;
    if (r->prefix[0] == 1)
        return MESSAGE_COMPRESSED;
    return r->length > r->body.max ? MESSAGE_TOO_LARGE : MESSAGE_MORE;
}

MessageResult message_read(MessageReader *r, Str *bytes)
{
    prefix_take(r, bytes);
    if (r->have < GRPC_PREFIX_LEN)
        return MESSAGE_MORE;
    MessageResult bad = prefix_check(r);
    if (bad != MESSAGE_MORE)
        return bad;
    assert(r->body.len <= r->length);
    Str part = str_slice(*bytes, 0, r->length - r->body.len);
    if (buf_adds(&r->body, part) < 0)
        return MESSAGE_TOO_LARGE;
    *bytes = str_slice(*bytes, part.len, bytes->len);
    return r->body.len == r->length ? MESSAGE_COMPLETE : MESSAGE_MORE;
}

Str message_body(const MessageReader *r)
{
    return buf_str(&r->body);
}

void message_next(MessageReader *r)
{
    r->have = 0;
    r->length = 0;
    buf_clear(&r->body);
}

bool message_is_partial(const MessageReader *r)
{
    return r->have > 0 && (r->have < GRPC_PREFIX_LEN || r->body.len < r->length);
}
