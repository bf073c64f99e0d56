#include "rules-internal.h"
#include <math.h>
#include "base/cleanup.h"

#define EXACT_MAX 9007199254740991.0 /* 2^53 - 1 */

bool field_settable(const Field *f, ObjMode mode)
{
    static const unsigned flag[] = {[OBJ_CREATE] = F_CREATE, [OBJ_PATCH] = F_PATCH, [OBJ_STATUS] = F_STATUS};
    return (f->flags & flag[mode]) && !(f->flags & (F_IGNORED | F_INTERNAL));
}

static size_t length_limit(const Field *f)
{
    return f->max_len ? f->max_len : FIELD_LEN_DEFAULT;
}

static int check_length(const Field *f, size_t len, Err *err)
{
    if (len <= length_limit(f))
        return 0;
    return err_set(err, ERR_INVALID, "%s exceeds maximum length of %zu", f->json, length_limit(f));
}

static int required(const Field *f, Err *err)
{
    return err_set(err, ERR_INVALID, "%s is required", f->json);
}

int value_put_text(Obj *o, int field, ObjMode mode, Str s, Err *err)
{
    const Field *f = &o->kind->fields[field];
    int rc = check_length(f, s.len, err);
    if (rc < 0)
        return rc;
    if (!str_is_utf8(s))
        return err_set(err, ERR_INVALID, "%s must be UTF-8 text without NUL", f->json);
    if (!s.len && (f->flags & F_NOT_EMPTY))
        return required(f, err);
    if (!s.len && (f->flags & F_EMPTY_NULL)) {
        obj_set_null(o, field);
        return 0;
    }
    if (!s.len && (f->flags & F_DFLT_EMPTY) && mode == OBJ_CREATE) {
        obj_clear(o, field);
        return 0;
    }
    if (f->check && (rc = f->check(s, err)) < 0)
        return rc;
    obj_set_str(o, field, s);
    return 0;
}

/* The text comes from our tables: it parses. */
static void put_default(Obj *o, int field)
{
    const Field *f = &o->kind->fields[field];
    Str text = str_from(f->dflt);
    int64_t i = 0;
    double d = 0;
    switch (f->type) {
    case FT_STRING:
    case FT_JSON_TEXT:
        obj_set_str(o, field, text);
        break;
    case FT_INT32:
    case FT_INT64:
        str_to_i64(text, &i);
        obj_set_int(o, field, i);
        break;
    case FT_DOUBLE:
        str_to_double(text, &d);
        obj_set_double(o, field, d);
        break;
    case FT_BOOL:
        obj_set_bool(o, field, str_eqz(text, "true"));
        break;
    case FT_TIME:
        break;
    }
}

int value_put_null(Obj *o, int field, ObjMode mode, Err *err)
{
    const Field *f = &o->kind->fields[field];
    if (mode == OBJ_CREATE) {
        obj_set_null(o, field); /* sent without a value; obj_finish_create() judges */
        return 0;
    }
    if (f->flags & (F_REQUIRED | F_NOT_EMPTY | F_NOT_NULL))
        return required(f, err);
    if (f->dflt)
        put_default(o, field);
    else
        obj_set_null(o, field);
    return 0;
}

static bool means_unset(const Field *f, ObjMode mode, double v)
{
    return mode == OBJ_CREATE && (f->flags & F_UNSET_NEG1) && v == -1;
}

int value_put_int(Obj *o, int field, ObjMode mode, int64_t v, Err *err)
{
    const Field *f = &o->kind->fields[field];
    if (f->type == FT_INT32 && (v < INT32_MIN || v > INT32_MAX))
        return err_set(err, ERR_INVALID, "%s is out of range", f->json);
    if (means_unset(f, mode, (double)v))
        obj_clear(o, field);
    else
        obj_set_int(o, field, v);
    return 0;
}

int value_put_double(Obj *o, int field, ObjMode mode, double v, Err *err)
{
    const Field *f = &o->kind->fields[field];
    if (!isfinite(v))
        return err_set(err, ERR_INVALID, "%s must be a finite number", f->json);
    /* Larger ones are printed as whole numbers that strict readers refuse, ours too. */
    if (fabs(v) > EXACT_MAX)
        return err_set(err, ERR_INVALID, "%s is out of range", f->json);
    if (means_unset(f, mode, v))
        obj_clear(o, field);
    else
        obj_set_double(o, field, v);
    return 0;
}

int value_put_time(Obj *o, int field, WallUsec t, Err *err)
{
    /* 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z, the range of google.protobuf.Timestamp. */
    const int64_t first = INT64_C(-62135596800), last = INT64_C(253402300799);
    int64_t seconds = t.us / (int64_t)USEC_PER_SEC;
    if (seconds < first || seconds > last)
        return err_set(err, ERR_INVALID, "%s is out of range", o->kind->fields[field].json);
    obj_set_time(o, field, t);
    return 0;
}

static int finish_field(Obj *o, int field, Err *err)
{
    const Field *f = &o->kind->fields[field];
    if (!obj_has(o, field) && f->dflt)
        put_default(o, field);
    const unsigned must = F_REQUIRED | F_NOT_EMPTY;
    if ((f->flags & must) == must && (!obj_has(o, field) || !o->v[field].len))
        return required(f, err);
    /* Sent as null: the key was there, and an answer has a value for what is required. */
    if ((f->flags & F_REQUIRED) && field_is_text(f) && o->v[field].state == V_NULL)
        obj_set_str(o, field, STR(""));
    if (obj_has(o, field) && field_is_text(f))
        return check_length(f, o->v[field].len, err);
    return 0;
}

int obj_finish_create(Obj *o, Err *err)
{
    for (int i = 0; i < (int)o->kind->n_fields; i++) {
        int rc = finish_field(o, i, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int status_require_field(const Obj *o, Err *err)
{
    CLEANUP_BUF Buf names = BUF_INIT(512);
    for (int i = 0; i < (int)o->kind->n_fields; i++) {
        if (!(o->kind->fields[i].flags & F_STATUS))
            continue;
        if (o->v[i].state != V_ABSENT)
            return 0;
        buf_addf(&names, "%s%s", names.len ? ", " : "", o->kind->fields[i].json);
    }
    return err_set(err, ERR_INVALID, "status patch body must set at least one field: " STR_FMT,
                   STR_ARG(buf_str(&names)));
}
