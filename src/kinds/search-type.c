/* Do the literals of a test fit the type of its column? Those that do are brought into one form for the
 * store. */
#include "search-internal.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

static int misfit(const Field *f, Err *err, const char *what)
{
    return err_set(err, ERR_BAD_REQUEST, "%s is %s", f->json, what);
}

static void set_text(SearchLiteral *l, Str text)
{
    char *copy = str_dup(text);
    free(l->text);
    l->text = copy;
}

/* A number may stand in quotes. */
static int fit_number(const Field *f, SearchLiteral *l, Err *err)
{
    if (!l->is_number && str_to_double(str_trim(str_from(l->text)), &l->number) < 0)
        return misfit(f, err, "a number: compare it with a number");
    l->is_number = true;
    return 0;
}

static int fit_bool(const Field *f, SearchLiteral *l, Err *err)
{
    static const char *const yes[] = {"true", "t", "yes", "y", "on", "1"};
    static const char *const no[] = {"false", "f", "no", "n", "off", "0"};
    Str s = str_trim(str_from(l->text));
    for (size_t i = 0; !l->is_number && i < ARRAY_LEN(yes); i++) {
        if (str_ieq(s, str_from(yes[i])) || str_ieq(s, str_from(no[i]))) {
            set_text(l, str_ieq(s, str_from(yes[i])) ? STR("true") : STR("false"));
            return 0;
        }
    }
    return misfit(f, err, "a boolean: compare it with 'true' or 'false'");
}

/* RFC 3339; also a date alone, a space for the T, and no zone for UTC, as SQL people write. */
static int parse_time(Str s, WallUsec *ret)
{
    if (rfc3339_parse(s, ret) == 0)
        return 0;
    if (s.len < 10)
        return -1;
    CLEANUP_BUF Buf b = BUF_INIT(64);
    buf_adds(&b, s);
    if (s.len == 10)
        buf_addz(&b, "T00:00:00");
    else if (s.ptr[10] == ' ' && b.len == s.len)
        b.data[10] = 'T';
    if (b.failed || rfc3339_parse(buf_str(&b), ret) == 0)
        return b.failed ? -1 : 0;
    buf_addc(&b, 'Z');
    return rfc3339_parse(buf_str(&b), ret);
}

static int fit_time(const Field *f, SearchLiteral *l, Err *err)
{
    WallUsec t;
    char text[RFC3339_MAX];
    if (l->is_number || parse_time(str_trim(str_from(l->text)), &t) < 0)
        return misfit(f, err, "a time: compare it with one like '2026-04-01T00:00:00Z'");
    set_text(l, rfc3339_format(t, text));
    return 0;
}

static int fit(const Field *f, SearchLiteral *l, Err *err)
{
    switch (f->type) {
    case FT_STRING:
    case FT_JSON_TEXT:
        return l->is_number ? misfit(f, err, "text: compare it with a value in quotes") : 0;
    case FT_INT32:
    case FT_INT64:
    case FT_DOUBLE:
        return fit_number(f, l, err);
    case FT_BOOL:
        return fit_bool(f, l, err);
    case FT_TIME:
        return fit_time(f, l, err);
    }
    return 0;
}

int search_types_fit(const Kind *k, SearchExpr *e, Err *err)
{
    const Field *f = &k->fields[e->left.field];
    if ((e->op == S_LIKE || e->op == S_ILIKE) && (e->left.arith || !field_is_text(f)))
        return misfit(f, err, "not text: like does not apply to it");
    for (size_t i = 0; i < e->n_lits; i++) {
        int rc = fit(f, &e->lits[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}
