#include "kinds/obj.h"
#include <assert.h>
#include "base/mem.h"

Obj *obj_new(const Kind *k)
{
    Obj *o = xcalloc(1, sizeof(Obj) + k->n_fields * sizeof(Value));
    o->kind = k;
    return o;
}

static Value *value_at(Obj *o, int field)
{
    assert(field >= 0 && (size_t)field < o->kind->n_fields);
    return &o->v[field];
}

static const Value *value_peek(const Obj *o, int field)
{
    assert(field >= 0 && (size_t)field < o->kind->n_fields);
    return &o->v[field];
}

static bool is_text(const Obj *o, int field)
{
    return field_is_text(&o->kind->fields[field]);
}

static void value_drop(Obj *o, int field)
{
    Value *v = value_at(o, field);
    if (is_text(o, field)) {
        if (v->str && (o->kind->fields[field].flags & F_WRITE_ONLY))
            explicit_bzero(v->str, v->len);
        free(v->str);
    }
    *v = (Value){V_ABSENT, {0}, 0};
}

Obj *obj_free(Obj *o)
{
    if (!o)
        return NULL;
    for (size_t i = 0; i < o->kind->n_fields; i++)
        value_drop(o, (int)i);
    free(o);
    return NULL;
}

void obj_copy_value(Obj *to, int field, const Obj *from, int from_field)
{
    const Value *v = value_peek(from, from_field);
    assert(to->kind->fields[field].type == from->kind->fields[from_field].type);
    if (v->state == V_SET && is_text(from, from_field)) {
        obj_set_str(to, field, (Str){v->str, v->len});
        return;
    }
    value_drop(to, field);
    *value_at(to, field) = *v;
}

Obj *obj_dup(const Obj *o)
{
    Obj *copy = obj_new(o->kind);
    for (size_t i = 0; i < o->kind->n_fields; i++)
        obj_copy_value(copy, (int)i, o, (int)i);
    return copy;
}

void obj_list_done(ObjList *l)
{
    for (size_t i = 0; i < l->len; i++)
        obj_free(l->ptr[i]);
    free(l->ptr);
    *l = (ObjList){0};
}

bool obj_has(const Obj *o, int field)
{
    return value_peek(o, field)->state == V_SET;
}

Str obj_str(const Obj *o, int field)
{
    assert(is_text(o, field));
    const Value *v = value_peek(o, field);
    return v->state == V_SET ? (Str){v->str, v->len} : STR_NULL;
}

const char *obj_cstr(const Obj *o, int field)
{
    assert(is_text(o, field));
    return obj_has(o, field) ? o->v[field].str : "";
}

int64_t obj_int(const Obj *o, int field, int64_t dflt)
{
    return obj_has(o, field) ? o->v[field].i : dflt;
}

double obj_double(const Obj *o, int field, double dflt)
{
    return obj_has(o, field) ? o->v[field].d : dflt;
}

bool obj_bool(const Obj *o, int field, bool dflt)
{
    return obj_has(o, field) ? o->v[field].b : dflt;
}

WallUsec obj_time(const Obj *o, int field)
{
    return obj_has(o, field) ? o->v[field].t : (WallUsec){0};
}

Phase obj_phase(const Obj *session)
{
    assert(session->kind == &kind_session);
    return phase_parse(obj_str(session, SESSION_PHASE));
}

void obj_set_str(Obj *o, int field, Str s)
{
    assert(is_text(o, field));
    char *copy = str_dup(s); /* first: s may point into the old value */
    value_drop(o, field);
    Value *v = value_at(o, field);
    v->state = V_SET;
    v->str = copy;
    v->len = s.len;
}

void obj_set_int(Obj *o, int field, int64_t i)
{
    assert(o->kind->fields[field].type == FT_INT32 || o->kind->fields[field].type == FT_INT64);
    *value_at(o, field) = (Value){.state = V_SET, .i = i};
}

void obj_set_double(Obj *o, int field, double d)
{
    assert(o->kind->fields[field].type == FT_DOUBLE);
    *value_at(o, field) = (Value){.state = V_SET, .d = d};
}

void obj_set_bool(Obj *o, int field, bool b)
{
    assert(o->kind->fields[field].type == FT_BOOL);
    *value_at(o, field) = (Value){.state = V_SET, .b = b};
}

void obj_set_time(Obj *o, int field, WallUsec t)
{
    assert(o->kind->fields[field].type == FT_TIME);
    *value_at(o, field) = (Value){.state = V_SET, .t = t};
}

void obj_set_null(Obj *o, int field)
{
    value_drop(o, field);
    value_at(o, field)->state = V_NULL;
}

void obj_clear(Obj *o, int field)
{
    value_drop(o, field);
}

static bool same_set_value(const Value *a, const Value *b, FieldType type)
{
    switch (type) {
    case FT_STRING:
    case FT_JSON_TEXT:
        return str_eq((Str){a->str, a->len}, (Str){b->str, b->len});
    case FT_INT32:
    case FT_INT64:
        return a->i == b->i;
    case FT_DOUBLE:
        return a->d == b->d;
    case FT_BOOL:
        return a->b == b->b;
    case FT_TIME:
        return a->t.us == b->t.us;
    }
    return false;
}

/* Absent and null are the same here: neither is a value. */
bool obj_value_equal(const Obj *a, const Obj *b, int field)
{
    assert(a->kind == b->kind);
    if (obj_has(a, field) != obj_has(b, field))
        return false;
    return !obj_has(a, field) ||
           same_set_value(value_peek(a, field), value_peek(b, field), a->kind->fields[field].type);
}

bool obj_apply(Obj *o, const Obj *patch)
{
    bool changed = false;
    for (int i = 0; i < (int)o->kind->n_fields; i++) {
        if (patch->v[i].state == V_ABSENT || obj_value_equal(o, patch, i))
            continue;
        obj_copy_value(o, i, patch, i);
        changed = true;
    }
    return changed;
}
