/* Encoder. One pass over the descriptor for the size and one for the bytes; both see the same fields in the
   same order through field_present(). */
#include "wire-internal.h"

#include <assert.h>

static const void *member_at(const ProtobufCMessage *msg, size_t offset)
{
    return (const char *)msg + offset;
}

static size_t varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

static uint8_t *varint_put(uint8_t *out, uint64_t v)
{
    while (v >= 0x80) {
        *out++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *out++ = (uint8_t)v;
    return out;
}

static uint8_t *fixed_put(uint8_t *out, size_t size, uint64_t v)
{
    for (size_t i = 0; i < size; i++)
        *out++ = (uint8_t)(v >> (8 * i));
    return out;
}

static uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static size_t scalar_width(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_STRING:
        return sizeof(char *);
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(ProtobufCMessage *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4; /* protobuf_c_boolean and enums are ints */
    }
}

/* The number of a scalar as it goes on the wire, before varint or fixed encoding. */
static uint64_t scalar_bits(ProtobufCType type, const void *at)
{
    uint32_t v32;
    uint64_t v64;
    if (scalar_width(type) == 4) {
        memcpy(&v32, at, sizeof(v32));
        if (type == PROTOBUF_C_TYPE_SINT32)
            return zigzag((int32_t)v32);
        if (type == PROTOBUF_C_TYPE_INT32 || type == PROTOBUF_C_TYPE_ENUM)
            return (uint64_t)(int64_t)(int32_t)v32;
        return type == PROTOBUF_C_TYPE_BOOL ? v32 != 0 : v32;
    }
    memcpy(&v64, at, sizeof(v64));
    return type == PROTOBUF_C_TYPE_SINT64 ? zigzag((int64_t)v64) : v64;
}

static Str string_at(const void *at)
{
    return str_from(*(const char *const *)at);
}

static Str bytes_at(const void *at)
{
    const ProtobufCBinaryData *b = at;
    return (Str){(const char *)b->data, b->len};
}

static const ProtobufCMessage *message_at(const void *at)
{
    return *(const ProtobufCMessage *const *)at;
}

static bool pointer_set(const void *at)
{
    return *(const void *const *)at != NULL;
}

/* A field with a default is a plain proto3 field: absent exactly when it has its default. */
static bool differs_from_default(const ProtobufCFieldDescriptor *f, const void *at)
{
    if (f->type == PROTOBUF_C_TYPE_STRING)
        return pointer_set(at) && strcmp(*(const char *const *)at, f->default_value) != 0;
    return memcmp(at, f->default_value, scalar_width(f->type)) != 0;
}

static bool field_present(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
    const void *at = member_at(msg, f->offset);
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        uint32_t which;
        memcpy(&which, member_at(msg, f->quantifier_offset), sizeof(which));
        if (which != f->id)
            return false;
    } else if (f->default_value) {
        return differs_from_default(f, at);
    }
    if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE)
        return pointer_set(at);
    if (f->label == PROTOBUF_C_LABEL_OPTIONAL && !(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
        return *(const protobuf_c_boolean *)member_at(msg, f->quantifier_offset) != 0;
    return true;
}

static size_t payload_size(const ProtobufCFieldDescriptor *f, const void *at)
{
    switch (pb_wire_type(f->type)) {
    case PB_I32:
        return 4;
    case PB_I64:
        return 8;
    case PB_LEN:
        break;
    default:
        return varint_size(scalar_bits(f->type, at));
    }
    size_t len = f->type == PROTOBUF_C_TYPE_STRING  ? string_at(at).len
                 : f->type == PROTOBUF_C_TYPE_BYTES ? bytes_at(at).len
                                                    : pb_size(message_at(at));
    return varint_size(len) + len;
}

static uint8_t *payload_put(uint8_t *out, const ProtobufCFieldDescriptor *f, const void *at)
{
    switch (pb_wire_type(f->type)) {
    case PB_I32:
        return fixed_put(out, 4, scalar_bits(f->type, at));
    case PB_I64:
        return fixed_put(out, 8, scalar_bits(f->type, at));
    case PB_LEN:
        break;
    default:
        return varint_put(out, scalar_bits(f->type, at));
    }
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        out = varint_put(out, pb_size(message_at(at)));
        return out + pb_pack(message_at(at), out);
    }
    Str s = f->type == PROTOBUF_C_TYPE_STRING ? string_at(at) : bytes_at(at);
    out = varint_put(out, s.len);
    if (s.len > 0)
        memcpy(out, s.ptr, s.len);
    return out + s.len;
}

static uint64_t field_tag(const ProtobufCFieldDescriptor *f, PbWireType type)
{
    return ((uint64_t)f->id << 3) | (unsigned)type;
}

typedef struct Elements {
    const char *ptr;
    size_t n, width;
} Elements;

static Elements elements_of(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
    Elements e = {.width = scalar_width(f->type)};
    e.n = *(const size_t *)member_at(msg, f->quantifier_offset);
    e.ptr = *(const char *const *)member_at(msg, f->offset);
    return e;
}

static bool is_packed(const ProtobufCFieldDescriptor *f)
{
    return (f->flags & PROTOBUF_C_FIELD_FLAG_PACKED) != 0;
}

static size_t elements_size(const ProtobufCFieldDescriptor *f, Elements e)
{
    size_t size = 0;
    for (size_t i = 0; i < e.n; i++)
        size += payload_size(f, e.ptr + i * e.width);
    return size;
}

static size_t repeated_size(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
    Elements e = elements_of(msg, f);
    if (e.n == 0)
        return 0;
    size_t size = elements_size(f, e), tag = varint_size(field_tag(f, PB_VARINT));
    return is_packed(f) ? tag + varint_size(size) + size : e.n * tag + size;
}

static uint8_t *repeated_put(uint8_t *out, const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
    Elements e = elements_of(msg, f);
    if (e.n == 0)
        return out;
    if (is_packed(f)) {
        out = varint_put(out, field_tag(f, PB_LEN));
        out = varint_put(out, elements_size(f, e));
    }
    for (size_t i = 0; i < e.n; i++) {
        if (!is_packed(f))
            out = varint_put(out, field_tag(f, pb_wire_type(f->type)));
        out = payload_put(out, f, e.ptr + i * e.width);
    }
    return out;
}

size_t pb_size(const ProtobufCMessage *msg)
{
    size_t size = 0;
    for (unsigned i = 0; i < msg->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &msg->descriptor->fields[i];
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            size += repeated_size(msg, f);
        else if (field_present(msg, f))
            size += varint_size(field_tag(f, PB_VARINT)) + payload_size(f, member_at(msg, f->offset));
    }
    return size;
}

size_t pb_pack(const ProtobufCMessage *msg, uint8_t *out)
{
    uint8_t *p = out;
    for (unsigned i = 0; i < msg->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &msg->descriptor->fields[i];
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            p = repeated_put(p, msg, f);
        } else if (field_present(msg, f)) {
            p = varint_put(p, field_tag(f, pb_wire_type(f->type)));
            p = payload_put(p, f, member_at(msg, f->offset));
        }
    }
    return (size_t)(p - out);
}
