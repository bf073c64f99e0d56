/*
 * JSON into objects. A request's texts of refusal are those that Go's encoding/json and the generated models
 * of the reference give (rest-core.md 2.1): the first fault in the body's order wins, missing keys come
 * before all others.
 */
#include "kinds/obj.h"
#include "json-text-internal.h"
#include "rules-internal.h"

static const char *json_type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "bool";
    case JSON_NULL:
        return "null";
    }
    return "value";
}

static const char *go_type_name(FieldType t)
{
    switch (t) {
    case FT_STRING:
    case FT_JSON_TEXT:
        return "string";
    case FT_INT32:
        return "int32";
    case FT_INT64:
        return "int64";
    case FT_DOUBLE:
        return "float64";
    case FT_BOOL:
        return "bool";
    case FT_TIME:
        return "time.Time";
    }
    return "string";
}

static int wrong_type(const Obj *o, int field, ObjMode mode, const json_t *v, Err *err)
{
    static const char *const pre[] = {[OBJ_CREATE] = "_", [OBJ_PATCH] = "", [OBJ_STATUS] = ""};
    static const char *const post[] = {
        [OBJ_CREATE] = "", [OBJ_PATCH] = "PatchRequest", [OBJ_STATUS] = "StatusPatchRequest"};
    const Field *f = &o->kind->fields[field];
    CLEANUP_BUF Buf number = BUF_INIT(64);
    if (json_is_number(v) && f->type != FT_STRING && f->type != FT_JSON_TEXT) {
        buf_addc(&number, ' '); /* Go names a number that does not fit */
        json_write(&number, v);
    }
    return err_set(err, ERR_MALFORMED,
                   "json: cannot unmarshal %s" STR_FMT " into Go struct field %s%s%s.%s of type %s",
                   json_type_name(v), STR_ARG(buf_str(&number)), pre[mode], o->kind->name, post[mode],
                   f->json, go_type_name(f->type));
}

static int put_time_text(Obj *o, int field, Str s, Err *err)
{
    WallUsec t;
    if (rfc3339_parse(s, &t) < 0)
        return err_set(err, ERR_MALFORMED,
                       "parsing time \"" STR_FMT "\" as \"2006-01-02T15:04:05Z07:00\": not a time (%s)",
                       STR_ARG(str_slice(s, 0, 64)), o->kind->fields[field].json);
    return value_put_time(o, field, t, err);
}

static int put_json_text(Obj *o, int field, ObjMode mode, const json_t *v, Err *err)
{
    if (o->kind->fields[field].flags & F_STRING_MAP) {
        if (!json_is_object(v))
            return wrong_type(o, field, mode, v, err);
        const json_t *bad = json_text_first_non_string(v);
        if (bad)
            return wrong_type(o, field, mode, bad, err);
    }
    CLEANUP_BUF Buf text =
        BUF_INIT(FIELD_LEN_DEFAULT + 1); /* so that "too long" is told apart by its length */
    json_text_write(&text, v);
    if (text.failed)
        return err_set(err, ERR_INVALID, "%s exceeds maximum length of %zu", o->kind->fields[field].json,
                       FIELD_LEN_DEFAULT);
    return value_put_text(o, field, mode, buf_str(&text), err);
}

static int put_number(Obj *o, int field, ObjMode mode, const json_t *v, Err *err)
{
    FieldType type = o->kind->fields[field].type;
    if (type == FT_DOUBLE)
        return value_put_double(o, field, mode, json_number_value(v), err);
    if (!json_is_integer(v) || (type != FT_INT32 && type != FT_INT64))
        return wrong_type(o, field, mode, v, err);
    int64_t i = json_integer_value(v);
    if (type == FT_INT32 && (i < INT32_MIN || i > INT32_MAX))
        return wrong_type(o, field, mode, v, err);
    return value_put_int(o, field, mode, i, err);
}

static int put_value(Obj *o, int field, ObjMode mode, const json_t *v, Err *err)
{
    FieldType type = o->kind->fields[field].type;
    Str s = json_is_string(v) ? (Str){json_string_value(v), json_string_length(v)} : STR_NULL;
    if (json_is_null(v))
        return value_put_null(o, field, mode, err);
    if (json_is_string(v) && (type == FT_STRING || type == FT_JSON_TEXT))
        return value_put_text(o, field, mode, s, err);
    if (json_is_string(v) && type == FT_TIME)
        return put_time_text(o, field, s, err);
    if (type == FT_JSON_TEXT && (json_is_object(v) || json_is_array(v)))
        return put_json_text(o, field, mode, v, err);
    if (json_is_number(v))
        return put_number(o, field, mode, v, err);
    if (json_is_boolean(v) && type == FT_BOOL) {
        obj_set_bool(o, field, json_is_true(v));
        return 0;
    }
    return wrong_type(o, field, mode, v, err);
}

/* Go's decoder takes an exact name first, then one that differs in case. */
static int find_field(const Kind *k, Str name)
{
    int exact = kind_field(k, name);
    if (exact >= 0)
        return exact;
    for (size_t i = 0; i < k->n_fields; i++)
        if (!(k->fields[i].flags & F_INTERNAL) && str_ieq(name, field_name(&k->fields[i])))
            return (int)i;
    return -1;
}

static bool is_computed(Str name)
{
    return str_ieq(name, STR("kind")) || str_ieq(name, STR("href"));
}

/* A client may not choose the id: "" is what a typed client sends for none. */
static int check_id(const Obj *o, const json_t *v, Err *err)
{
    if (json_is_null(v))
        return 0;
    if (!json_is_string(v))
        return wrong_type(o, FIELD_ID, OBJ_CREATE, v, err);
    if (json_string_length(v))
        return err_set(err, ERR_INVALID, "id must be empty");
    return 0;
}

static int take_property(Obj *o, ObjMode mode, Str name, const json_t *v, Err *err)
{
    int field = find_field(o->kind, name);
    if (field < 0) {
        if (mode != OBJ_CREATE || is_computed(name) || o->kind->lenient)
            return 0;
        return err_set(err, ERR_MALFORMED, "json: unknown field \"" STR_FMT "\"",
                       STR_ARG(str_slice(name, 0, 128)));
    }
    if (field == FIELD_ID && mode == OBJ_CREATE)
        return o->kind->lenient ? 0 : check_id(o, v, err);
    if (!field_settable(&o->kind->fields[field], mode))
        return 0;
    return put_value(o, field, mode, v, err);
}

static int check_required_keys(const Kind *k, const json_t *body, Err *err)
{
    for (size_t i = 0; i < k->n_fields; i++)
        if ((k->fields[i].flags & F_REQUIRED) && !json_object_get(body, k->fields[i].json))
            return err_set(err, ERR_MALFORMED, "no value given for required property %s", k->fields[i].json);
    return 0;
}

static int take_body(Obj *o, ObjMode mode, const json_t *body, Err *err)
{
    if (json_is_null(body) && mode != OBJ_CREATE)
        return 0;
    if (!json_is_object(body))
        return err_set(err, ERR_MALFORMED,
                       "json: cannot unmarshal %s into Go value of type map[string]interface {}",
                       json_type_name(body));
    int rc = mode == OBJ_CREATE && !o->kind->lenient ? check_required_keys(o->kind, body, err) : 0;
    const char *key;
    json_t *v;
    json_object_foreach(json_unconst(body), key, v)
    {
        if (rc < 0)
            break;
        rc = take_property(o, mode, str_from(key), v, err);
    }
    return rc;
}

/* Faults of the form (code 17) carry the reference's prefix, faults of a value (code 8) do not. */
static int wrap_form(int rc, Err *err)
{
    if (rc == -ERR_MALFORMED)
        err_wrap(err, "Invalid request format");
    return rc;
}

int obj_from_json(const Kind *k, ObjMode mode, const json_t *body, Obj **ret, Err *err)
{
    CLEANUP(obj_freep) Obj *o = obj_new(k);
    int rc = take_body(o, mode, body, err);
    if (rc < 0)
        return wrap_form(rc, err);
    if (mode == OBJ_STATUS && (rc = status_require_field(o, err)) < 0)
        return rc;
    *ret = TAKE(o);
    return 0;
}

int obj_from_json_text(const Kind *k, ObjMode mode, Str text, Obj **ret, Err *err)
{
    CLEANUP_JSON json_t *body = NULL;
    int rc = json_parse(text, &body, err);
    if (rc < 0)
        return wrap_form(rc, err);
    return obj_from_json(k, mode, body, ret, err);
}

/* What our own server, or a compatible one, answered: names exact, rules of requests do not apply. */
static int take_answered(Obj *o, int field, const json_t *v, Err *err)
{
    const Field *f = &o->kind->fields[field];
    if (json_is_null(v))
        return 0;
    if (json_is_string(v) && field_is_text(f)) {
        obj_set_str(o, field, (Str){json_string_value(v), json_string_length(v)});
        return 0;
    }
    return put_value(o, field, OBJ_PATCH, v, err);
}

int obj_from_answer(const Kind *k, const json_t *body, Obj **ret, Err *err)
{
    if (!json_is_object(body))
        return err_set(err, ERR_MALFORMED, "%s: not a JSON object", k->name);
    CLEANUP(obj_freep) Obj *o = obj_new(k);
    for (int i = 0; i < (int)k->n_fields; i++) {
        const json_t *v = json_object_get(body, k->fields[i].json);
        int rc = v ? take_answered(o, i, v, err) : 0;
        if (rc < 0) {
            err_wrap(err, "%s", k->name);
            return rc;
        }
    }
    *ret = TAKE(o);
    return 0;
}
