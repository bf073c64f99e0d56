/*
 * Label selectors in Kubernetes' syntax: requirements that all hold. A key or value that Kubernetes would
 * refuse is refused. https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
 *
 *   selector    = [ requirement { "," requirement } ]
 *   requirement = [ "!" ] key | key ( "=" | "==" | "!=" ) value | key ( "in" | "notin" ) "(" value { ","
 * value } ")"
 */
#include "base/mem.h"
#include "kinds/search.h"

#define SELECTOR_TEXT_MAX ((size_t)8 << 10)
#define VALUES_MAX 500 /* of the whole selector, keys included */
#define PREFIX_MAX 253
#define NAME_MAX_LEN 63

typedef struct Selector {
    Str rest;
    int field;
    size_t n_values;
    Err *err;
} Selector;

static int refuse(const Selector *s, const char *why)
{
    return err_set(s->err, ERR_BAD_REQUEST, "unable to parse labelSelector: %s", why);
}

/* ---- keys and values ---- */

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_name_char(char c)
{
    return is_alnum(c) || c == '-' || c == '_' || c == '.';
}

static bool is_name(Str s)
{
    if (!s.len || s.len > NAME_MAX_LEN || !is_alnum(s.ptr[0]) || !is_alnum(s.ptr[s.len - 1]))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!is_name_char(s.ptr[i]))
            return false;
    return true;
}

/* DNS labels with dots between them. */
static bool is_prefix(Str s)
{
    if (!s.len || s.len > PREFIX_MAX)
        return false;
    while (s.ptr) {
        Str label = str_cut(&s, '.');
        if (!is_name(label) || str_find_byte(label, '_') >= 0)
            return false;
        for (size_t i = 0; i < label.len; i++)
            if (label.ptr[i] >= 'A' && label.ptr[i] <= 'Z')
                return false;
    }
    return true;
}

bool label_key_ok(Str key)
{
    Str name = key, prefix = str_cut(&name, '/');
    return name.ptr ? is_prefix(prefix) && is_name(name) : is_name(prefix);
}

bool label_value_ok(Str value)
{
    return !value.len || is_name(value);
}

/* ---- tokens ---- */

static void skip_blanks(Selector *s)
{
    while (s->rest.len && (s->rest.ptr[0] == ' ' || s->rest.ptr[0] == '\t'))
        s->rest = str_slice(s->rest, 1, s->rest.len);
}

static bool accept(Selector *s, const char *sign)
{
    skip_blanks(s);
    if (!str_starts(s->rest, str_from(sign)))
        return false;
    s->rest = str_slice(s->rest, strlen(sign), s->rest.len);
    return true;
}

static Str word(Selector *s)
{
    size_t n = 0;
    skip_blanks(s);
    while (n < s->rest.len && (is_name_char(s->rest.ptr[n]) || s->rest.ptr[n] == '/'))
        n++;
    Str w = str_slice(s->rest, 0, n);
    s->rest = str_slice(s->rest, n, s->rest.len);
    return w;
}

static bool accept_word(Selector *s, const char *wanted)
{
    Selector before = *s;
    if (str_eqz(word(s), wanted))
        return true;
    *s = before;
    return false;
}

static bool at_end(Selector *s)
{
    skip_blanks(s);
    return !s->rest.len || s->rest.ptr[0] == ',';
}

/* ---- requirements ---- */

static int add_literal(Selector *s, SearchExpr *e, Str text)
{
    if (++s->n_values > VALUES_MAX)
        return refuse(s, "it holds too many values");
    e->lits = xrealloc(e->lits, (e->n_lits + 1) * sizeof(*e->lits));
    e->lits[e->n_lits++] = (SearchLiteral){.text = str_dup(text)};
    return 0;
}

static int add_value(Selector *s, SearchExpr *e)
{
    Str value = word(s);
    if (!label_value_ok(value))
        return refuse(
            s, "a value is at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both "
               "ends");
    return add_literal(s, e, value);
}

static int add_set(Selector *s, SearchExpr *e)
{
    if (!accept(s, "("))
        return refuse(s, "'(' is missing behind in or notin");
    if (accept(s, ")"))
        return refuse(s, "a set must not be empty");
    do {
        int rc = add_value(s, e);
        if (rc < 0)
            return rc;
    } while (accept(s, ","));
    return accept(s, ")") ? 0 : refuse(s, "')' is missing");
}

/* What stands behind the key. */
static int test(Selector *s, SearchExpr *e)
{
    if (at_end(s)) {
        e->op = S_LABEL_EXISTS;
        return 0;
    }
    if (accept(s, "!=")) {
        e->negated = true;
        return add_value(s, e);
    }
    if (accept(s, "==") || accept(s, "="))
        return add_value(s, e);
    if (accept_word(s, "in"))
        return add_set(s, e);
    if (accept_word(s, "notin")) {
        e->negated = true;
        return add_set(s, e);
    }
    return refuse(s, "after a key comes =, ==, !=, in, notin or nothing");
}

static int requirement(Selector *s, SearchExpr *e)
{
    bool absent = accept(s, "!");
    Str key = word(s);
    if (!label_key_ok(key))
        return refuse(
            s, "a key is [prefix/]name: at most 63 letters, digits, '-', '_' and '.' behind a DNS prefix");
    int rc = add_literal(s, e, key);
    if (rc < 0)
        return rc;
    if (!absent)
        return test(s, e);
    e->op = S_LABEL_EXISTS;
    e->negated = true;
    return at_end(s) ? 0 : refuse(s, "nothing may stand behind !key");
}

int label_selector_parse(const Kind *k, Str text, SearchExpr **ret, Err *err)
{
    CLEANUP(search_freep) SearchExpr *all = NULL;
    Selector s = {.rest = str_trim(text), .field = kind_field(k, STR("labels")), .err = err};
    if (!s.rest.len) {
        *ret = NULL;
        return 0;
    }
    if (s.field < 0)
        return err_set(err, ERR_BAD_REQUEST, "%s has no labels", k->name);
    if (s.rest.len > SELECTOR_TEXT_MAX)
        return refuse(&s, "it is too long");
    do {
        SearchExpr *e = xnew(SearchExpr);
        e->op = S_LABEL_IN;
        e->left.field = s.field;
        all = search_and(all, e);
        int rc = requirement(&s, e);
        if (rc < 0)
            return rc;
    } while (accept(&s, ","));
    if (s.rest.len)
        return refuse(&s, "',' is missing between requirements");
    *ret = TAKE(all);
    return 0;
}
