/* Objects into protobuf messages, by field name through protobuf-c's descriptors. */
#include "kinds/obj.h"
#include "pb-fields-internal.h"
#include "base/mem.h"
#include "pb/ambient.h"

/* Freed by protobuf-c, whose default allocator is malloc's. */
static char *dup_text(const Value *v)
{
    return xstrndup(v->str, v->len);
}

static ProtobufCMessage *new_timestamp(WallUsec t)
{
    Google__Protobuf__Timestamp *ts = xnew(Google__Protobuf__Timestamp);
    google__protobuf__timestamp__init(ts);
    int64_t us = t.us % (int64_t)USEC_PER_SEC;
    ts->seconds = t.us / (int64_t)USEC_PER_SEC - (us < 0);
    ts->nanos = (int32_t)((us < 0 ? us + (int64_t)USEC_PER_SEC : us) * 1000);
    return &ts->base;
}

static bool is_timestamp(const ProtobufCFieldDescriptor *d)
{
    return d->type == PROTOBUF_C_TYPE_MESSAGE && d->descriptor == &google__protobuf__timestamp__descriptor;
}

/* 0, or -1 when the two types do not fit: a fault of our tables. */
static int put_field(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *d, const Value *v, FieldType type)
{
    if (field_type_is_text(type) && d->type == PROTOBUF_C_TYPE_STRING)
        *(char **)pb_member(msg, d) = dup_text(v);
    else if (type == FT_INT32 && d->type == PROTOBUF_C_TYPE_INT32)
        *(int32_t *)pb_member(msg, d) = (int32_t)v->i;
    else if (type == FT_INT64 && d->type == PROTOBUF_C_TYPE_INT64)
        *(int64_t *)pb_member(msg, d) = v->i;
    else if (type == FT_DOUBLE && d->type == PROTOBUF_C_TYPE_DOUBLE)
        *(double *)pb_member(msg, d) = v->d;
    else if (type == FT_BOOL && d->type == PROTOBUF_C_TYPE_BOOL)
        *(protobuf_c_boolean *)pb_member(msg, d) = v->b;
    else if (type == FT_TIME && is_timestamp(d))
        *(ProtobufCMessage **)pb_member(msg, d) = new_timestamp(v->t);
    else
        return -1;
    pb_set_has(msg, d);
    return 0;
}

static ProtobufCMessage *new_reference(const Obj *o)
{
    Ambient__V1__ObjectReference *ref = xnew(Ambient__V1__ObjectReference);
    ambient__v1__object_reference__init(ref);
    const Value *id = &o->v[FIELD_ID];
    if (id->state == V_SET) {
        ref->id = dup_text(id);
        ref->href = xasprintf(STR_FMT STR_FMT, STR_ARG(o->kind->href), STR_ARG(obj_str(o, FIELD_ID)));
    }
    ref->kind = xstrdup(o->kind->name);
    ref->created_at =
        CONTAINER_OF(new_timestamp(obj_time(o, FIELD_CREATED_AT)), Google__Protobuf__Timestamp, base);
    ref->updated_at =
        CONTAINER_OF(new_timestamp(obj_time(o, FIELD_UPDATED_AT)), Google__Protobuf__Timestamp, base);
    return &ref->base;
}

static bool is_reference(const ProtobufCFieldDescriptor *d)
{
    return d->type == PROTOBUF_C_TYPE_MESSAGE && d->descriptor == &ambient__v1__object_reference__descriptor;
}

static int fill_field(const Obj *o, ProtobufCMessage *msg, const ProtobufCFieldDescriptor *d)
{
    if (is_reference(d)) {
        *(ProtobufCMessage **)pb_member(msg, d) = new_reference(o);
        return 0;
    }
    int field = kind_field(o->kind, str_from(d->name));
    if (field < 0 || !obj_has(o, field) || (o->kind->fields[field].flags & (F_WRITE_ONLY | F_IGNORED)))
        return 0;
    return put_field(msg, d, &o->v[field], o->kind->fields[field].type);
}

int obj_to_pb(const Obj *o, const ProtobufCMessageDescriptor *d, ProtobufCMessage **ret, Err *err)
{
    ProtobufCMessage *msg = xcalloc(1, d->sizeof_message);
    d->message_init(msg);
    for (unsigned i = 0; i < d->n_fields; i++) {
        if (fill_field(o, msg, &d->fields[i]) == 0)
            continue;
        pb_free(msg);
        return err_set(err, ERR_INTERNAL, "%s.%s: the kind's table and the message differ", d->name,
                       d->fields[i].name);
    }
    *ret = msg;
    return 0;
}
