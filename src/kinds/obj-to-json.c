/* Objects as answers: straight into a Buf, in the order that the table holds ready. */
#include "kinds/obj.h"
#include "base/mem.h"

#define HREF_MAX ((size_t)128 << 10)

static void write_time(Buf *out, WallUsec t)
{
    char text[RFC3339_MAX];
    Str s = rfc3339_format(t, text);
    buf_addc(out, '"');
    buf_adds(out, s);
    buf_addc(out, '"');
}

static void write_value(Buf *out, const Value *v, FieldType type)
{
    switch (type) {
    case FT_STRING:
    case FT_JSON_TEXT:
        json_write_str(out, (Str){v->str, v->len});
        break;
    case FT_INT32:
    case FT_INT64:
        buf_add_i64(out, v->i);
        break;
    case FT_DOUBLE:
        json_write_double(out, v->d);
        break;
    case FT_BOOL:
        buf_addz(out, v->b ? "true" : "false");
        break;
    case FT_TIME:
        write_time(out, v->t);
        break;
    }
}

/* For F_ALWAYS and F_SHOW_NULL. */
static void write_unset(Buf *out, const Field *f)
{
    if (f->flags & F_SHOW_NULL)
        buf_addz(out, "null");
    else
        buf_addz(out, field_is_text(f) ? "\"\"" : f->type == FT_BOOL ? "false" : "0");
}

/* A KSUID or a project name needs no escape; any other id comes from a foreign server. */
static bool is_plain_id(Str id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-'))
            return false;
    }
    return true;
}

/* What stands before the id. */
static void add_href_base(Buf *out, const Obj *o)
{
    const Kind *k = o->kind;
    if (!k->in_project) {
        buf_adds(out, k->href);
        return;
    }
    buf_adds(out, kind_project.href);
    buf_adds(out, obj_str(o, k->project_field));
    buf_addf(out, "/%s/", k->collection);
}

static void write_href(Buf *out, const Obj *o)
{
    Str id = obj_str(o, FIELD_ID);
    if (is_plain_id(id) && (!o->kind->in_project || is_plain_id(obj_str(o, o->kind->project_field)))) {
        buf_addc(out, '"');
        add_href_base(out, o);
        buf_adds(out, id);
        buf_addc(out, '"');
        return;
    }
    CLEANUP_BUF Buf href = BUF_INIT(HREF_MAX);
    add_href_base(&href, o);
    buf_adds(&href, id);
    json_write_str(out, buf_str(&href));
}

static void open_member(Buf *out, char *before, Str key)
{
    buf_addc(out, *before);
    buf_adds(out, key);
    *before = ',';
}

static void write_computed(const Obj *o, short item, Buf *out, char *before)
{
    if (item == JSON_HREF) {
        open_member(out, before, STR("\"href\":"));
        write_href(out, o);
        return;
    }
    open_member(out, before, STR("\"kind\":\""));
    buf_addz(out, o->kind->name); /* our own text: nothing to escape */
    buf_addc(out, '"');
}

static bool is_shown(const Kind *k, short item, const bool *mask)
{
    if (!mask)
        return true;
    return mask[item == JSON_HREF ? MASK_HREF(k) : item == JSON_KIND ? MASK_KIND(k) : (size_t)item];
}

void obj_to_json(const Obj *o, Buf *out, const bool *mask)
{
    const Kind *k = o->kind;
    char before = '{';
    for (size_t i = 0; i < k->n_json_order; i++) {
        short item = k->json_order[i];
        if (!is_shown(k, item, mask))
            continue;
        if (item < 0) {
            write_computed(o, item, out, &before);
            continue;
        }
        const Field *f = &k->fields[item];
        bool set = o->v[item].state == V_SET;
        if (!set && !(f->flags & (F_ALWAYS | F_SHOW_NULL)))
            continue;
        open_member(out, &before, f->key);
        if (set)
            write_value(out, &o->v[item], f->type);
        else
            write_unset(out, f);
    }
    if (before == '{')
        buf_addc(out, '{');
    buf_addc(out, '}');
}

void obj_list_to_json(const Kind *k, const ObjList *l, Buf *out, const bool *mask)
{
    buf_addz(out, "{\"items\":[");
    for (size_t i = 0; i < l->len; i++) {
        if (i)
            buf_addc(out, ',');
        obj_to_json(l->ptr[i], out, mask);
    }
    buf_addf(out, "],\"kind\":\"%s\",\"page\":", k->list_name);
    buf_add_i64(out, l->page);
    buf_addz(out, ",\"size\":");
    buf_add_u64(out, l->len);
    buf_addz(out, ",\"total\":");
    buf_add_i64(out, l->total);
    buf_addc(out, '}');
}

static bool is_answered(const Field *f)
{
    return !(f->flags & (F_WRITE_ONLY | F_IGNORED | F_INTERNAL));
}

/* Index into a mask, or -1. */
static ptrdiff_t mask_index(const Kind *k, Str name)
{
    if (str_eqz(name, "href"))
        return (ptrdiff_t)MASK_HREF(k);
    if (str_eqz(name, "kind"))
        return (ptrdiff_t)MASK_KIND(k);
    int field = kind_field(k, name);
    return field >= 0 && is_answered(&k->fields[field]) ? field : -1;
}

int field_mask_parse(const Kind *k, Str text, bool **ret, Err *err)
{
    if (!str_trim(text).len) {
        *ret = NULL;
        return 0;
    }
    CLEANUP_FREE bool *mask = xcalloc(MASK_LEN(k), sizeof(bool));
    CLEANUP_BUF Buf unknown = BUF_INIT(256);
    mask[FIELD_ID] = true;
    for (Str rest = text; rest.ptr;) {
        Str name = str_trim(str_cut(&rest, ','));
        if (!name.len)
            continue;
        ptrdiff_t at = mask_index(k, name);
        if (at >= 0)
            mask[at] = true;
        else
            buf_addf(&unknown, "%s" STR_FMT, unknown.len ? ", " : "", STR_ARG(name));
    }
    if (unknown.len || unknown.failed)
        return err_set(err, ERR_INVALID, "The following field(s) doesn't exist in `%s`: " STR_FMT, k->name,
                       STR_ARG(buf_str(&unknown)));
    *ret = TAKE(mask);
    return 0;
}
