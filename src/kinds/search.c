/* Trees of conditions: making them by hand and freeing them. */
#include "search-internal.h"
#include "base/mem.h"

static void node_free(SearchExpr *e)
{
    for (size_t i = 0; i < e->n_lits; i++)
        free(e->lits[i].text);
    free(e->lits);
    search_arith_free(e->left.arith);
    free(e);
}

SearchExpr *search_free(SearchExpr *e)
{
    while (e) {
        SearchExpr *left = e->a;
        if (left) { /* rotate: no stack, however long the chain */
            e->a = left->b;
            left->b = e;
            e = left;
            continue;
        }
        SearchExpr *next = e->b;
        node_free(e);
        e = next;
    }
    return NULL;
}

static SearchExpr *node(SearchOp op, SearchExpr *a, SearchExpr *b)
{
    SearchExpr *e = xnew(SearchExpr);
    *e = (SearchExpr){.op = op, .a = a, .b = b};
    return e;
}

static SearchExpr *test(SearchOp op, int field)
{
    SearchExpr *e = node(op, NULL, NULL);
    e->left.field = field;
    return e;
}

SearchExpr *search_and(SearchExpr *a, SearchExpr *b)
{
    if (!a || !b)
        return a ? a : b;
    return node(S_AND, a, b);
}

SearchExpr *search_or(SearchExpr *a, SearchExpr *b)
{
    if (a && b)
        return node(S_OR, a, b);
    search_free(a);
    return search_free(b); /* everything or x is everything */
}

SearchExpr *search_in(int field, const Str *values, size_t n)
{
    if (!n)
        return search_false();
    SearchExpr *e = test(S_IN, field);
    e->lits = xcalloc(n, sizeof(*e->lits));
    for (; e->n_lits < n; e->n_lits++)
        e->lits[e->n_lits].text = str_dup(values[e->n_lits]);
    return e;
}

SearchExpr *search_eq(int field, Str value)
{
    SearchExpr *e = search_in(field, &value, 1);
    e->op = S_EQ;
    return e;
}

SearchExpr *search_eq_bool(int field, bool value)
{
    return search_eq(field, value ? STR("true") : STR("false"));
}

SearchExpr *search_is_null(int field)
{
    return test(S_IS_NULL, field);
}

SearchExpr *search_time(SearchOp op, int field, WallUsec t)
{
    char text[RFC3339_MAX];
    SearchExpr *e = search_eq(field, rfc3339_format(t, text));
    e->op = op;
    return e;
}

SearchExpr *search_false(void)
{
    return node(S_FALSE, NULL, NULL);
}
