/* Fields of request messages by name: the same name means the same in every request. */
#include "rpc-internal.h"

static const void *member(const ProtobufCMessage *msg, const char *name, ProtobufCType type)
{
    const ProtobufCFieldDescriptor *d =
        protobuf_c_message_descriptor_get_field_by_name(msg->descriptor, name);
    return d && d->type == type ? (const char *)msg + d->offset : NULL;
}

Str request_str(const ProtobufCMessage *msg, const char *name)
{
    const void *m = member(msg, name, PROTOBUF_C_TYPE_STRING);
    return m ? str_from(*(char *const *)m) : STR_NULL;
}

int64_t request_int(const ProtobufCMessage *msg, const char *name)
{
    const void *m = member(msg, name, PROTOBUF_C_TYPE_INT32);
    if (m)
        return *(const int32_t *)m;
    m = member(msg, name, PROTOBUF_C_TYPE_INT64);
    return m ? *(const int64_t *)m : 0;
}
