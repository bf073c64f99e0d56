/* protobuf-c's messages as records with offsets. */
#pragma once

#include "kinds/kind.h"
#include "pb/pb.h"

static inline bool field_type_is_text(FieldType t)
{
    return t == FT_STRING || t == FT_JSON_TEXT;
}

static inline void *pb_member(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *d)
{
    return (char *)msg + d->offset;
}

static inline const void *pb_member_peek(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *d)
{
    return (const char *)msg + d->offset;
}

/* Numbers say "present" in a flag of their own; strings and messages by being not NULL. */
static inline bool pb_is_pointer(const ProtobufCFieldDescriptor *d)
{
    return d->type == PROTOBUF_C_TYPE_STRING || d->type == PROTOBUF_C_TYPE_MESSAGE;
}

static inline void pb_set_has(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *d)
{
    if (!pb_is_pointer(d) && d->label == PROTOBUF_C_LABEL_OPTIONAL)
        *(protobuf_c_boolean *)((char *)msg + d->quantifier_offset) = 1;
}

/* A field with a default is one without presence (pb/pb.h): it always has a value. */
static inline bool pb_has(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *d)
{
    if (d->label == PROTOBUF_C_LABEL_REPEATED)
        return false;
    if (pb_is_pointer(d))
        return *(void *const *)pb_member_peek(msg, d) != NULL;
    if (d->default_value)
        return true;
    return *(const protobuf_c_boolean *)((const char *)msg + d->quantifier_offset) != 0;
}
