/* Decoder. It fills protobuf-c's structs, so that protobuf-c's own code can free them; unlike protobuf-c's
   decoder it keeps no unknown fields, checks strings, and works within a budget of memory. */
#include "wire-internal.h"

#include <assert.h>
#include "base/mem.h"

typedef struct Decoder {
    size_t budget;
    unsigned depth;
    Err *err;
} Decoder;

static int message_decode(Decoder *d, ProtobufCMessage *msg, Str bytes);

static void *member_at(ProtobufCMessage *msg, size_t offset)
{
    return (char *)msg + offset;
}

static int malformed(Decoder *d, const ProtobufCMessageDescriptor *desc, const char *what)
{
    return err_set(d->err, ERR_MALFORMED, "%s: %s", desc->name, what);
}

/* Memory within the budget; a fixed share stands for malloc's own. */
static void *decoder_alloc(Decoder *d, void *old, size_t size)
{
    const size_t overhead = 16;
    void *p = size + overhead <= d->budget ? try_realloc(old, size) : NULL;
    if (p)
        d->budget -= size + overhead;
    else
        err_set(d->err, ERR_TOO_LARGE, "message takes too much memory");
    return p;
}

static ProtobufCMessage *message_make(Decoder *d, const ProtobufCMessageDescriptor *desc)
{
    ProtobufCMessage *msg = decoder_alloc(d, NULL, desc->sizeof_message);
    if (msg)
        protobuf_c_message_init(desc, msg);
    return msg;
}

static char *string_make(Decoder *d, Str s)
{
    char *p = decoder_alloc(d, NULL, s.len + 1);
    if (p) {
        if (s.len > 0)
            memcpy(p, s.ptr, s.len);
        p[s.len] = '\0';
    }
    return p;
}

static void string_drop(const ProtobufCFieldDescriptor *f, void *at)
{
    char **s = at;
    if (*s != f->default_value)
        free(*s);
    *s = NULL;
}

/* Empties a member of a oneof before another one takes its place. */
static void member_drop(const ProtobufCFieldDescriptor *f, void *at)
{
    if (f->type == PROTOBUF_C_TYPE_STRING)
        string_drop(f, at);
    else if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        pb_free(*(ProtobufCMessage **)at);
    else if (f->type == PROTOBUF_C_TYPE_BYTES)
        free(((ProtobufCBinaryData *)at)->data);
}

static int string_decode(Decoder *d, const ProtobufCMessageDescriptor *desc,
                         const ProtobufCFieldDescriptor *f, void *at, Str bytes)
{
    if (!str_is_utf8(bytes))
        return err_set(d->err, ERR_MALFORMED, "%s.%s: invalid UTF-8", desc->name, f->name);
    char *s = string_make(d, bytes);
    if (!s)
        return -ERR_TOO_LARGE;
    string_drop(f, at);
    *(char **)at = s;
    return 0;
}

static int bytes_decode(Decoder *d, void *at, Str bytes)
{
    uint8_t *p = (uint8_t *)string_make(d, bytes);
    if (!p)
        return -ERR_TOO_LARGE;
    ProtobufCBinaryData *b = at;
    free(b->data);
    *b = (ProtobufCBinaryData){bytes.len, p};
    return 0;
}

static int submessage_decode(Decoder *d, const ProtobufCFieldDescriptor *f, void *at, Str bytes)
{
    ProtobufCMessage **sub = at;
    if (!*sub && !(*sub = message_make(d, f->descriptor)))
        return -ERR_TOO_LARGE;
    return message_decode(d, *sub, bytes);
}

static int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static size_t scalar_store(ProtobufCType type, uint64_t v, void *at)
{
    uint32_t v32 = (uint32_t)v;
    switch (type) {
    case PROTOBUF_C_TYPE_SINT64:
        v = (uint64_t)unzigzag(v);
        __attribute__((fallthrough));
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        memcpy(at, &v, sizeof(v));
        return sizeof(v);
    case PROTOBUF_C_TYPE_SINT32:
        v32 = (uint32_t)unzigzag(v32);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        v32 = v != 0;
        break;
    default:
        break;
    }
    memcpy(at, &v32, sizeof(v32));
    return sizeof(v32);
}

static int value_decode(Decoder *d, const ProtobufCMessageDescriptor *desc, const ProtobufCFieldDescriptor *f,
                        void *at, const PbField *w)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        return string_decode(d, desc, f, at, w->bytes);
    case PROTOBUF_C_TYPE_BYTES:
        return bytes_decode(d, at, w->bytes);
    case PROTOBUF_C_TYPE_MESSAGE:
        return submessage_decode(d, f, at, w->bytes);
    default:
        scalar_store(f->type, w->value, at);
        return 0;
    }
}

static size_t element_width(ProtobufCType type)
{
    uint64_t scratch;
    switch (type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return scalar_store(type, 0, &scratch);
    }
}

static void oneof_switch(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
    uint32_t *which = member_at(msg, f->quantifier_offset);
    if (*which == f->id)
        return;
    const ProtobufCFieldDescriptor *old = protobuf_c_message_descriptor_get_field(msg->descriptor, *which);
    if (old)
        member_drop(old, member_at(msg, old->offset));
    memset(member_at(msg, f->offset), 0, element_width(f->type));
    *which = f->id;
}

static int single_decode(Decoder *d, ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f,
                         const PbField *w)
{
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        oneof_switch(msg, f);
    int r = value_decode(d, msg->descriptor, f, member_at(msg, f->offset), w);
    if (r < 0 || (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) || f->label == PROTOBUF_C_LABEL_REQUIRED)
        return r;
    if (f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE)
        *(protobuf_c_boolean *)member_at(msg, f->quantifier_offset) = 1;
    return 0;
}

/* The place of a new, zeroed last element. Lists have no capacity of their own in protobuf-c: they grow when
   their length is a power of two. */
static void *element_add(Decoder *d, ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f)
{
    size_t *n = member_at(msg, f->quantifier_offset), width = element_width(f->type);
    char **list = member_at(msg, f->offset);
    if ((*n & (*n - 1)) == 0) {
        char *grown = decoder_alloc(d, *list, (*n ? *n * 2 : 1) * width);
        if (!grown)
            return NULL;
        *list = grown;
    }
    char *at = *list + *n * width;
    memset(at, 0, width);
    return at;
}

static int element_decode(Decoder *d, ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f,
                          const PbField *w)
{
    void *at = element_add(d, msg, f);
    if (!at)
        return -ERR_TOO_LARGE;
    int r = value_decode(d, msg->descriptor, f, at, w);
    /* A half-decoded sub-message is counted too, so that freeing the whole finds it. */
    if (r == 0 || (f->type == PROTOBUF_C_TYPE_MESSAGE && *(void **)at))
        ++*(size_t *)member_at(msg, f->quantifier_offset);
    return r;
}

static int packed_decode(Decoder *d, ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f, Str rest)
{
    PbWireType type = pb_wire_type(f->type);
    const size_t width = type == PB_I32 ? 4 : 8;
    while (rest.len > 0) {
        PbField w = {.type = type};
        if (type == PB_VARINT ? pb_varint_next(&rest, &w.value) < 0 : rest.len < width)
            return malformed(d, msg->descriptor, "bad packed list");
        if (type != PB_VARINT) {
            for (size_t i = 0; i < width; i++)
                w.value |= (uint64_t)(uint8_t)rest.ptr[i] << (8 * i);
            rest = str_slice(rest, width, rest.len);
        }
        int r = element_decode(d, msg, f, &w);
        if (r < 0)
            return r;
    }
    return 0;
}

/* A field of another wire type than the descriptor's is an unknown field, as in the other implementations. */
static int field_decode(Decoder *d, ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f,
                        const PbField *w)
{
    PbWireType want = pb_wire_type(f->type);
    if (f->label == PROTOBUF_C_LABEL_REPEATED && want != PB_LEN && w->type == PB_LEN)
        return packed_decode(d, msg, f, w->bytes);
    if (w->type != want)
        return 0;
    return f->label == PROTOBUF_C_LABEL_REPEATED ? element_decode(d, msg, f, w) : single_decode(d, msg, f, w);
}

static int message_decode(Decoder *d, ProtobufCMessage *msg, Str bytes)
{
    if (d->depth == PB_DEPTH_MAX)
        return malformed(d, msg->descriptor, "nested too deep");
    d->depth++;
    PbField w;
    int more;
    while ((more = pb_field_next(&bytes, &w)) > 0) {
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field(msg->descriptor, w.number);
        int r = f ? field_decode(d, msg, f, &w) : 0;
        if (r < 0)
            return r;
    }
    d->depth--;
    return more < 0 ? malformed(d, msg->descriptor, "malformed bytes") : 0;
}

ProtobufCMessage *pb_unpack_checked(const ProtobufCMessageDescriptor *desc, Str bytes, Err *err)
{
    size_t budget;
    if (__builtin_mul_overflow(bytes.len, PB_MEMORY_FACTOR, &budget) ||
        __builtin_add_overflow(budget, PB_MEMORY_BASE, &budget)) {
        err_set(err, ERR_TOO_LARGE, "message is too large");
        return NULL;
    }
    Decoder d = {.budget = budget, .err = err};
    ProtobufCMessage *msg = message_make(&d, desc);
    if (msg && message_decode(&d, msg, bytes) < 0)
        msg = pb_free(msg);
    return msg;
}

void *pb_free(void *msg)
{
    if (msg)
        protobuf_c_message_free_unpacked(msg, NULL);
    return NULL;
}
