/* Paths to routes. rest-core.md 1.4. The tables are short: they are walked. */
#include "rest-internal.h"

#include "http/url.h"

static bool is_dots(Str segment)
{
    return str_eq(segment, STR(".")) || str_eq(segment, STR(".."));
}

/* A trailing slash stays: it makes an unknown path, not an unclean one. */
Str path_normalise(Str path, bool *ret_clean)
{
    if (path.len > 1 && path.ptr[path.len - 1] == '/')
        path.len--;
    *ret_clean = true;
    Str rest = str_slice(path, 1, path.len);
    while (rest.ptr) {
        Str segment = str_cut(&rest, '/');
        if (is_dots(segment) || (!segment.len && rest.ptr))
            *ret_clean = false;
    }
    return path;
}

static void drop_last_segment(Buf *out)
{
    while (out->len && out->data[out->len - 1] != '/')
        buf_truncate(out, out->len - 1);
    if (out->len)
        buf_truncate(out, out->len - 1);
}

void path_clean(Str path, Buf *out)
{
    Str rest = path;
    while (rest.ptr) {
        Str segment = str_cut(&rest, '/');
        if (str_eq(segment, STR("..")))
            drop_last_segment(out);
        else if (segment.len && !is_dots(segment)) {
            (void)buf_addc(out, '/');
            url_escape_segment(out, segment);
        }
    }
    if (!out->len)
        (void)buf_addc(out, '/');
}

static void set_var(Vars *v, Str name, Str value)
{
    if (str_eq(name, STR("project_id")))
        v->project = value;
    else if (str_eq(name, STR("agent_id")))
        v->agent = value;
    else if (!v->id.ptr)
        v->id = value;
    else
        v->sub = value;
}

/* "{name}" takes one non-empty segment, "{path}" all that are left, everything else is itself. */
static bool match(Str pattern, Str path, Vars *v)
{
    while (pattern.ptr && path.ptr) {
        Str want = str_cut(&pattern, '/'), have = str_cut(&path, '/');
        if (want.len && want.ptr[0] == '{') {
            if (!have.len)
                return false;
            if (str_eq(want, STR("{path}")))
                have = (Str){have.ptr, have.len + (path.ptr ? path.len + 1 : 0)};
            if (str_eq(want, STR("{path}")))
                path = STR_NULL;
            set_var(v, str_slice(want, 1, want.len - 1), have);
        } else if (!str_eq(want, have)) {
            return false;
        }
    }
    return !pattern.ptr && !path.ptr;
}

static bool route_has_path(const Route *rt, Str path, Str tail, Vars *ret)
{
    Str subject = rt->flags & R_ROOT ? path : tail;
    return subject.len && match(str_from(rt->r.pattern), subject, ret);
}

const Route *route_match(Str method, Str path, Vars *ret, Buf *ret_allow)
{
    bool below = str_starts(path, STR(API_PREFIX "/"));
    Str tail = below ? str_slice(path, sizeof(API_PREFIX) - 1, path.len) : STR_NULL;
    FOREACH_ROUTE (rt) {
        Vars v = {0};
        if (!str_eqz(method, rt->r.method) || !route_has_path(rt, path, tail, &v))
            continue;
        *ret = v;
        return rt;
    }
    FOREACH_ROUTE (rt) {
        Vars v = {0};
        if (route_has_path(rt, path, tail, &v))
            (void)buf_addf(ret_allow, "%s%s", ret_allow->len ? ", " : "", rt->r.method);
    }
    return NULL;
}

void route_label(const Route *rt, Buf *out)
{
    (void)buf_addz(out, rt->flags & R_ROOT ? "" : API_PREFIX);
    for (const char *p = rt->r.pattern; *p; p++) {
        if (*p != '{') {
            (void)buf_addc(out, *p);
            continue;
        }
        (void)buf_addc(out, '-');
        while (*p != '}')
            p++;
    }
}
