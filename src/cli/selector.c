#include "selector.h"

#include <string.h>
#include "apply.h"
#include "base/mem.h"
#include "output.h"

typedef enum TermOp { TERM_IN, TERM_NOT_IN, TERM_EXISTS, TERM_ABSENT } TermOp;

typedef struct Term {
    TermOp op;
    char *key;
    VEC_OF(char *)
    values;
} Term;

struct Selector {
    bool labels;
    VEC_OF(Term)
    terms;
};

static void term_done(Term *t)
{
    free(t->key);
    VEC_FOREACH (&t->values, v)
        free(*v);
    vec_free(&t->values);
}

Selector *selector_free(Selector *s)
{
    if (!s)
        return NULL;
    VEC_FOREACH (&s->terms, t)
        term_done(t);
    vec_free(&s->terms);
    free(s);
    return NULL;
}

static void add_value(Term *t, Str v)
{
    vec_push(&t->values, str_dup(str_trim(v)));
}

/* "key in (a, b)", "key notin (a)" */
static bool parse_set(Str text, Term *t)
{
    ptrdiff_t open = str_find_byte(text, '(');
    if (open < 0 || text.ptr[text.len - 1] != ')')
        return false;
    Str head = str_trim(str_slice(text, 0, (size_t)open)),
        rest = str_slice(text, (size_t)open + 1, text.len - 1);
    if (str_ends(head, STR(" in")))
        t->op = TERM_IN;
    else if (str_ends(head, STR(" notin")))
        t->op = TERM_NOT_IN;
    else
        return false;
    t->key = str_dup(str_trim(str_slice(head, 0, head.len - (t->op == TERM_IN ? 3 : 6))));
    while (rest.ptr)
        add_value(t, str_cut(&rest, ','));
    return true;
}

static bool parse_term(Str text, Term *t)
{
    if (text.len && text.ptr[text.len - 1] == ')')
        return parse_set(text, t);
    ptrdiff_t eq = str_find_byte(text, '=');
    if (eq < 0) {
        t->op = text.ptr[0] == '!' ? TERM_ABSENT : TERM_EXISTS;
        t->key = str_dup(str_trim(str_slice(text, t->op == TERM_ABSENT, text.len)));
        return true;
    }
    size_t key_end = (size_t)eq, value = (size_t)eq + 1;
    bool negated = eq > 0 && text.ptr[eq - 1] == '!';
    key_end -= negated;
    value += value < text.len && text.ptr[value] == '=' && !negated;
    t->op = negated ? TERM_NOT_IN : TERM_IN;
    t->key = str_dup(str_trim(str_slice(text, 0, key_end)));
    add_value(t, str_slice(text, value, text.len));
    return true;
}

static bool is_key(const char *key)
{
    return *key &&
           strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./") == strlen(key);
}

/* The next term: up to a comma outside parentheses. */
static Str next_term(Str *rest)
{
    size_t depth = 0;
    for (size_t i = 0; i < rest->len; i++) {
        char c = rest->ptr[i];
        depth += c == '(';
        depth -= c == ')' && depth;
        if (c == ',' && !depth) {
            Str term = str_slice(*rest, 0, i);
            *rest = str_slice(*rest, i + 1, rest->len);
            return str_trim(term);
        }
    }
    Str term = *rest;
    *rest = STR_NULL;
    return str_trim(term);
}

int selector_parse(const char *text, bool labels, Selector **ret, Err *err)
{
    CLEANUP(selector_freep) Selector *s = xnew(Selector);
    s->labels = labels;
    Str rest = str_from(text);
    while (rest.ptr) {
        Str word = next_term(&rest);
        Term t = {0};
        bool ok = word.len && parse_term(word, &t) && is_key(t.key) && (labels || t.values.len);
        if (ok) {
            vec_push(&s->terms, t);
            continue;
        }
        term_done(&t);
        return err_set(err, ERR_USAGE, "\"" STR_FMT "\" is no %s", STR_ARG(word),
                       labels ? "label selector: key=value, key!=value, key in (a,b), key or !key"
                              : "field selector: member=value or member!=value");
    }
    *ret = TAKE(s);
    return 0;
}

static bool has_value(const Term *t, Str v)
{
    VEC_FOREACH (&t->values, one) {
        if (str_eqz(v, *one))
            return true;
    }
    return false;
}

static bool term_matches(const Term *t, const json_t *v)
{
    CLEANUP_BUF Buf b = BUF_INIT(1024 * 1024);
    if (t->op == TERM_EXISTS || t->op == TERM_ABSENT)
        return (v != NULL) == (t->op == TERM_EXISTS);
    value_text(&b, v);
    return has_value(t, buf_str(&b)) == (t->op == TERM_IN);
}

bool selector_matches(const Selector *s, const json_t *obj)
{
    if (!s)
        return true;
    CLEANUP_JSON json_t *labels = s->labels ? map_of_text(json_object_get(obj, "labels")) : NULL;
    VEC_FOREACH (&s->terms, t) {
        CLEANUP_JSON json_t *v =
            labels ? json_incref(json_object_get(labels, t->key)) : member_at(obj, str_from(t->key));
        bool absent_label = labels && !v && t->op == TERM_IN;
        if (absent_label || !term_matches(t, v))
            return false;
    }
    return true;
}
