#include "wire-internal.h"

#include <assert.h>

extern const unsigned char pb_descriptor_set_bytes[];
extern const size_t pb_descriptor_set_bytes_len;

enum { WIRE_GROUP_START = 3, WIRE_GROUP_END = 4 };

Str pb_descriptor_set(void)
{
    return (Str){(const char *)pb_descriptor_set_bytes, pb_descriptor_set_bytes_len};
}

int pb_varint_next(Str *rest, uint64_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < rest->len && i < 10; i++) {
        uint8_t b = (uint8_t)rest->ptr[i];
        if (i == 9 && b > 1)
            return -1; /* more than 64 bits */
        v |= (uint64_t)(b & 0x7f) << (7 * i);
        if (b < 0x80) {
            *ret = v;
            *rest = str_slice(*rest, i + 1, rest->len);
            return 0;
        }
    }
    return -1;
}

PbWireType pb_wire_type(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return PB_I32;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return PB_I64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return PB_LEN;
    default:
        return PB_VARINT;
    }
}

static int fixed_next(Str *rest, size_t size, uint64_t *ret)
{
    if (rest->len < size)
        return -1;
    uint64_t v = 0;
    for (size_t i = 0; i < size; i++)
        v |= (uint64_t)(uint8_t)rest->ptr[i] << (8 * i);
    *ret = v;
    *rest = str_slice(*rest, size, rest->len);
    return 0;
}

static int bytes_next(Str *rest, Str *ret)
{
    uint64_t len;
    if (pb_varint_next(rest, &len) < 0 || len > rest->len)
        return -1;
    *ret = str_slice(*rest, 0, (size_t)len);
    *rest = str_slice(*rest, (size_t)len, rest->len);
    return 0;
}

static int tag_next(Str *rest, uint32_t *ret_number, unsigned *ret_type)
{
    uint64_t tag;
    if (pb_varint_next(rest, &tag) < 0 || tag >> 3 == 0 || tag >> 3 > PB_NUMBER_MAX)
        return -1;
    *ret_number = (uint32_t)(tag >> 3);
    *ret_type = (unsigned)(tag & 7);
    return 0;
}

static int value_next(Str *rest, unsigned type, PbField *f)
{
    switch (type) {
    case PB_VARINT:
        return pb_varint_next(rest, &f->value);
    case PB_I64:
        return fixed_next(rest, 8, &f->value);
    case PB_LEN:
        return bytes_next(rest, &f->bytes);
    case PB_I32:
        return fixed_next(rest, 4, &f->value);
    default:
        return -1;
    }
}

/* Moves behind the end tag that belongs to a start tag just read. Nothing we decode has groups. */
static int group_skip(Str *rest, uint32_t number)
{
    uint32_t open[PB_DEPTH_MAX];
    size_t depth = 0;
    open[depth++] = number;
    while (depth > 0) {
        uint32_t n;
        unsigned type;
        PbField ignored;
        if (tag_next(rest, &n, &type) < 0)
            return -1;
        if (type == WIRE_GROUP_START) {
            if (depth == PB_DEPTH_MAX)
                return -1;
            open[depth++] = n;
        } else if (type == WIRE_GROUP_END) {
            if (open[--depth] != n)
                return -1;
        } else if (value_next(rest, type, &ignored) < 0) {
            return -1;
        }
    }
    return 0;
}

int pb_field_next(Str *rest, PbField *ret)
{
    if (rest->len == 0)
        return 0;
    PbField f = {0};
    unsigned type;
    if (tag_next(rest, &f.number, &type) < 0)
        return -1;
    if (type == WIRE_GROUP_START ? group_skip(rest, f.number) < 0 : value_next(rest, type, &f) < 0)
        return -1;
    f.type = (PbWireType)type;
    *ret = f;
    return 1;
}
