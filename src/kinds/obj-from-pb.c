/* Protobuf messages into objects: requests of clients, and the API's resources for our own clients. */
#include "kinds/obj.h"
#include "pb-fields-internal.h"
#include "rules-internal.h"
#include "pb/ambient.h"

static int read_timestamp(const void *member, WallUsec *ret)
{
    const Google__Protobuf__Timestamp *ts = *(Google__Protobuf__Timestamp *const *)member;
    int64_t us;
    if (ts->nanos < 0 || ts->nanos > 999999999)
        return -1;
    if (__builtin_mul_overflow(ts->seconds, (int64_t)USEC_PER_SEC, &us) ||
        __builtin_add_overflow(us, ts->nanos / 1000, &us))
        return -1;
    *ret = (WallUsec){us};
    return 0;
}

static int put_member(Obj *o, int field, ObjMode mode, const ProtobufCMessage *msg,
                      const ProtobufCFieldDescriptor *d, Err *err)
{
    const void *m = pb_member_peek(msg, d);
    FieldType type = o->kind->fields[field].type;
    WallUsec t;
    if (field_type_is_text(type) && d->type == PROTOBUF_C_TYPE_STRING)
        return value_put_text(o, field, mode, str_from(*(char *const *)m), err);
    if (type == FT_INT32 && d->type == PROTOBUF_C_TYPE_INT32)
        return value_put_int(o, field, mode, *(const int32_t *)m, err);
    if (type == FT_INT64 && d->type == PROTOBUF_C_TYPE_INT64)
        return value_put_int(o, field, mode, *(const int64_t *)m, err);
    if (type == FT_DOUBLE && d->type == PROTOBUF_C_TYPE_DOUBLE)
        return value_put_double(o, field, mode, *(const double *)m, err);
    if (type == FT_BOOL && d->type == PROTOBUF_C_TYPE_BOOL) {
        obj_set_bool(o, field, *(const protobuf_c_boolean *)m != 0);
        return 0;
    }
    if (type != FT_TIME || d->descriptor != &google__protobuf__timestamp__descriptor)
        return err_set(err, ERR_INTERNAL, "%s: the kind's table and the message differ", d->name);
    if (read_timestamp(m, &t) < 0)
        return err_set(err, ERR_INVALID, "%s is out of range", d->name);
    return value_put_time(o, field, t, err);
}

int obj_from_pb(const Kind *k, ObjMode mode, const ProtobufCMessage *msg, Obj **ret, Err *err)
{
    CLEANUP(obj_freep) Obj *o = obj_new(k);
    const ProtobufCMessageDescriptor *d = msg->descriptor;
    int rc = 0;
    for (unsigned i = 0; i < d->n_fields; i++) {
        int field = kind_field(k, str_from(d->fields[i].name));
        if (field < 0 || !field_settable(&k->fields[field], mode) || !pb_has(msg, &d->fields[i]))
            continue;
        rc = put_member(o, field, mode, msg, &d->fields[i], err);
        if (rc < 0)
            return rc;
    }
    if (mode == OBJ_STATUS && (rc = status_require_field(o, err)) < 0)
        return rc;
    *ret = TAKE(o);
    return 0;
}

static int put_time_member(Obj *o, int field, const Google__Protobuf__Timestamp *ts, Err *err)
{
    WallUsec t;
    if (!ts)
        return 0;
    if (read_timestamp(&ts, &t) < 0)
        return err_set(err, ERR_MALFORMED, "%s is out of range", o->kind->fields[field].json);
    return value_put_time(o, field, t, err);
}

static int take_reference(Obj *o, const Ambient__V1__ObjectReference *ref, Err *err)
{
    if (ref->id)
        obj_set_str(o, FIELD_ID, str_from(ref->id));
    int rc = put_time_member(o, FIELD_CREATED_AT, ref->created_at, err);
    return rc < 0 ? rc : put_time_member(o, FIELD_UPDATED_AT, ref->updated_at, err);
}

static int take_resource_field(Obj *o, const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *d,
                               Err *err)
{
    if (!pb_has(msg, d))
        return 0;
    if (d->type == PROTOBUF_C_TYPE_MESSAGE && d->descriptor == &ambient__v1__object_reference__descriptor)
        return take_reference(o, *(Ambient__V1__ObjectReference *const *)pb_member_peek(msg, d), err);
    int field = kind_field(o->kind, str_from(d->name));
    if (field < 0 || (o->kind->fields[field].flags & F_IGNORED))
        return 0;
    if (d->type == PROTOBUF_C_TYPE_STRING && field_is_text(&o->kind->fields[field])) {
        obj_set_str(o, field, str_from(*(char *const *)pb_member_peek(msg, d))); /* no request rules */
        return 0;
    }
    return put_member(o, field, OBJ_PATCH, msg, d, err);
}

int obj_from_pb_resource(const Kind *k, const ProtobufCMessage *msg, Obj **ret, Err *err)
{
    CLEANUP(obj_freep) Obj *o = obj_new(k);
    for (unsigned i = 0; i < msg->descriptor->n_fields; i++) {
        int rc = take_resource_field(o, msg, &msg->descriptor->fields[i], err);
        if (rc < 0) {
            err_wrap(err, "%s", k->name);
            return rc;
        }
    }
    *ret = TAKE(o);
    return 0;
}
