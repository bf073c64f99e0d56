/*
 * A search tree as an SQL condition. Values become parameters, names come from the kind's table. Chains of
 * AND and of OR are written as balanced trees of parentheses, since SQLite limits the depth of an expression,
 * not its size.
 */
#include "store-internal.h"

typedef struct Render {
    Query *q;
    const Dialect *d;
    const Kind *k;
    Err *err;
} Render;

void query_done(Query *q)
{
    buf_done(&q->sql);
    vec_free(&q->params);
}

void query_param(Query *q, SqlValue v)
{
    vec_push(&q->params, v);
    /* Numbers bring their type along: beside a column they would else have to fit into the column's. */
    const char *type = v.type == SQL_INT ? "BIGINT" : v.type == SQL_DOUBLE ? "DOUBLE PRECISION" : NULL;
    if (type)
        buf_addf(&q->sql, "CAST(?%zu AS %s)", q->params.len, type);
    else
        buf_addf(&q->sql, "?%zu", q->params.len);
}

int query_use(Query *q, Db *db, Stmt **ret, Err *err)
{
    int rc = buf_check(&q->sql, err);
    if (rc < 0)
        return rc;
    rc = stmt_use(db, buf_str(&q->sql), ret, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < q->params.len; i++)
        stmt_bind(*ret, (unsigned)i + 1, q->params.ptr[i]);
    return 0;
}

/* A pattern that takes too many steps is the caller's, not ours. */
int query_fault(int rc, Err *err)
{
    if (rc == -ERR_TOO_LARGE)
        return err_set(err, ERR_BAD_REQUEST, "the search takes too long: its pattern has too many wildcards");
    if (rc == -ERR_DEADLINE)
        return err_set(err, ERR_DEADLINE, "the search takes too long");
    return rc;
}

static int render(Render *r, const SearchExpr *e);

static const Field *field_of(const Render *r, int field)
{
    return &r->k->fields[field];
}

static SqlValue number(const SearchLiteral *l)
{
    int64_t i;
    if (str_to_i64(str_from(l->text), &i) == 0)
        return sql_int(i);
    double d = l->number;
    if (!l->is_number)
        (void)str_to_double(str_from(l->text), &d);
    return sql_double(d);
}

static int bool_value(const Render *r, const Field *f, Str text, SqlValue *ret)
{
    static const char *const words[][2] = {
        {"false", "true"}, {"f", "t"}, {"0", "1"}, {"no", "yes"}, {"off", "on"}};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        for (int b = 0; b < 2; b++) {
            if (str_ieq(text, str_from(words[i][b]))) {
                *ret = sql_bool(b);
                return 0;
            }
        }
    }
    return err_set(r->err, ERR_BAD_REQUEST, "%s is true or false", f->json);
}

/* A literal as the column's own type, or as a number behind arithmetic. */
static int literal(const Render *r, const SearchLeft *left, const SearchLiteral *l, SqlValue *ret)
{
    const Field *f = field_of(r, left->field);
    WallUsec t;
    if (left->arith) {
        *ret = number(l);
        return 0;
    }
    switch (f->type) {
    case FT_STRING:
    case FT_JSON_TEXT:
        *ret = sql_text(str_from(l->text));
        return 0;
    case FT_INT32:
    case FT_INT64:
    case FT_DOUBLE:
        *ret = number(l);
        return 0;
    case FT_BOOL:
        return bool_value(r, f, str_from(l->text), ret);
    case FT_TIME:
        if (rfc3339_parse(str_from(l->text), &t) < 0)
            return err_set(r->err, ERR_BAD_REQUEST, "%s needs a time such as 2026-04-01T00:00:00Z", f->json);
        *ret = sql_time(t);
        return 0;
    }
    return err_set(r->err, ERR_INTERNAL, "unknown type of %s", f->json);
}

static int literal_param(Render *r, const SearchExpr *e, size_t i)
{
    SqlValue v;
    int rc = literal(r, &e->left, &e->lits[i], &v);
    if (rc == 0)
        query_param(r->q, v);
    return rc;
}

/* The parser limits its depth to SEARCH_DEPTH_MAX. */
static void arithmetic(Render *r, const SearchArith *a)
{
    if (!a->op) {
        if (a->field >= 0)
            buf_addz(&r->q->sql, field_column(field_of(r, a->field)));
        else if (a->number >= -1e15 && a->number <= 1e15 && a->number == (double)(int64_t)a->number)
            query_param(r->q, sql_int((int64_t)a->number));
        else
            query_param(r->q, sql_double(a->number));
        return;
    }
    bool divides = a->op == '/' || a->op == '%';
    buf_addz(&r->q->sql, a->op == '%' ? "(CAST(" : "(");
    arithmetic(r, a->a);
    buf_addf(&r->q->sql, a->op == '%' ? " AS BIGINT) %c " : " %c ", a->op);
    /* By zero gives no value. */
    buf_addz(&r->q->sql, a->op == '%' ? "nullif(CAST(" : divides ? "nullif(" : "");
    arithmetic(r, a->b);
    buf_addz(&r->q->sql, a->op == '%' ? " AS BIGINT), 0))" : divides ? ", 0))" : ")");
}

static void left_side(Render *r, const SearchExpr *e)
{
    if (e->left.arith)
        arithmetic(r, e->left.arith);
    else
        buf_addz(&r->q->sql, field_column(field_of(r, e->left.field)));
}

static int compare(Render *r, const SearchExpr *e)
{
    static const char *const ops[] = {
        [S_EQ] = " = ", [S_NE] = " <> ", [S_LT] = " < ", [S_LE] = " <= ", [S_GT] = " > ", [S_GE] = " >= ",
    };
    left_side(r, e);
    buf_addz(&r->q->sql, ops[e->op]);
    return literal_param(r, e, 0);
}

/* PostgreSQL refuses a pattern whose last character is an escape that escapes nothing. */
static bool pattern_ends_in_escape(const char *pattern)
{
    const char *p = pattern;
    while (*p) {
        if (*p == '\\' && !*++p)
            return true;
        p++;
    }
    return false;
}

static int like(Render *r, const SearchExpr *e)
{
    const Field *f = field_of(r, e->left.field);
    if (!field_is_text(f) || e->left.arith)
        return err_set(r->err, ERR_BAD_REQUEST, "%s is not a text field", f->json);
    if (pattern_ends_in_escape(e->lits[0].text))
        return err_set(r->err, ERR_BAD_REQUEST, "LIKE pattern must not end with escape character");
    vec_push(&r->q->params, sql_text(str_from(e->lits[0].text)));
    r->d->like(&r->q->sql, field_column(f), (unsigned)r->q->params.len, e->op == S_ILIKE);
    return 0;
}

static int between(Render *r, const SearchExpr *e)
{
    left_side(r, e);
    buf_addz(&r->q->sql, " BETWEEN ");
    int rc = literal_param(r, e, 0);
    if (rc < 0)
        return rc;
    buf_addz(&r->q->sql, " AND ");
    return literal_param(r, e, 1);
}

static int in_list(Render *r, const SearchExpr *e)
{
    if (!e->n_lits) {
        buf_addz(&r->q->sql, "1 = 0");
        return 0;
    }
    left_side(r, e);
    buf_addz(&r->q->sql, " IN (");
    for (size_t i = 0; i < e->n_lits; i++) {
        if (i)
            buf_addz(&r->q->sql, ", ");
        int rc = literal_param(r, e, i);
        if (rc < 0)
            return rc;
    }
    buf_addc(&r->q->sql, ')');
    return 0;
}

/* Never NULL, so that an object without the label is one that has not that value. */
static int label(Render *r, const SearchExpr *e)
{
    const char *column = field_column(field_of(r, e->left.field));
    vec_push(&r->q->params, sql_text(str_from(e->lits[0].text)));
    unsigned key = (unsigned)r->q->params.len;
    if (e->op == S_LABEL_EXISTS) {
        buf_addc(&r->q->sql, '(');
        r->d->label(&r->q->sql, column, key);
        buf_addz(&r->q->sql, ") IS NOT NULL");
        return 0;
    }
    buf_addz(&r->q->sql, "coalesce((");
    r->d->label(&r->q->sql, column, key);
    buf_addz(&r->q->sql, ") IN (");
    for (size_t i = 1; i < e->n_lits; i++) {
        if (i > 1)
            buf_addz(&r->q->sql, ", ");
        query_param(r->q, sql_text(str_from(e->lits[i].text)));
    }
    buf_addz(&r->q->sql, "), FALSE)");
    return 0;
}

static int test(Render *r, const SearchExpr *e)
{
    switch (e->op) {
    case S_LABEL_IN:
    case S_LABEL_EXISTS:
        return label(r, e);
    case S_LIKE:
    case S_ILIKE:
        return like(r, e);
    case S_IS_NULL:
        left_side(r, e);
        buf_addz(&r->q->sql, " IS NULL");
        return 0;
    case S_BETWEEN:
        return between(r, e);
    case S_IN:
        return in_list(r, e);
    case S_TRUE:
        buf_addz(&r->q->sql, "1 = 1");
        return 0;
    case S_FALSE:
        buf_addz(&r->q->sql, "1 = 0");
        return 0;
    default:
        return compare(r, e);
    }
}

/* The operands of a chain of the same operator, in order: the tree may lean to either side, and be long. */
typedef VEC_OF(const SearchExpr *)
Operands;
static void flatten(const SearchExpr *e, Operands *out)
{
    Operands todo = {0};
    vec_push(&todo, e);
    while (todo.len) {
        const SearchExpr *x = vec_pop(&todo);
        if (x->op == e->op) {
            vec_push(&todo, x->b);
            vec_push(&todo, x->a);
        } else {
            vec_push(out, x);
        }
    }
    vec_free(&todo);
}

static int balanced(Render *r, const char *word, const SearchExpr *const *list, size_t n)
{
    if (n == 1)
        return render(r, list[0]);
    buf_addc(&r->q->sql, '(');
    int rc = balanced(r, word, list, n / 2);
    if (rc < 0)
        return rc;
    buf_addz(&r->q->sql, word);
    rc = balanced(r, word, list + n / 2, n - n / 2);
    buf_addc(&r->q->sql, ')');
    return rc;
}

static int chain(Render *r, const SearchExpr *e)
{
    Operands list = {0};
    flatten(e, &list);
    int rc = balanced(r, e->op == S_AND ? " AND " : " OR ", list.ptr, list.len);
    vec_free(&list);
    return rc;
}

static int render(Render *r, const SearchExpr *e)
{
    if (e->op == S_AND || e->op == S_OR)
        return chain(r, e);
    bool negate = e->op == S_NOT || e->negated;
    buf_addz(&r->q->sql, negate ? "NOT (" : "(");
    int rc = e->op == S_NOT ? render(r, e->a) : test(r, e);
    buf_addc(&r->q->sql, ')');
    return rc;
}

int query_search(Query *q, const Dialect *d, const Kind *k, const SearchExpr *e, Err *err)
{
    Render r = {.q = q, .d = d, .k = k, .err = err};
    return render(&r, e);
}
