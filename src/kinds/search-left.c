/*
 * Columns and arithmetic before a test's operator:
 *   sum = product {("+" | "-") product};  product = atom {("*" | "/" | "%") atom}
 *   atom = column | "(" sum ")" | number, where a number never comes first
 */
#include "search-internal.h"
#include "base/mem.h"

static SearchArith *arith_node(char op, SearchArith *a, SearchArith *b)
{
    SearchArith *n = xnew(SearchArith);
    *n = (SearchArith){.op = op, .a = a, .b = b, .field = -1};
    return n;
}

void search_arith_free(SearchArith *a)
{
    while (a) {
        SearchArith *left = a->a;
        if (left) { /* rotate: no stack, however long the chain */
            a->a = left->b;
            left->b = a;
            a = left;
            continue;
        }
        SearchArith *next = a->b;
        free(a);
        a = next;
    }
}

static bool is_searchable(const Kind *k, int field)
{
    unsigned flags = k->fields[field].flags;
    if (flags & F_WRITE_ONLY)
        return false;
    return !(flags & F_INTERNAL) || field == k->project_field;
}

int search_resolve(const Kind *k, Str name, bool quoted, Err *err)
{
    char folded[64];
    int field = -1;
    if (name.len < sizeof(folded)) {
        for (size_t i = 0; i < name.len; i++)
            folded[i] =
                (char)(!quoted && name.ptr[i] >= 'A' && name.ptr[i] <= 'Z' ? name.ptr[i] + 32 : name.ptr[i]);
        field = kind_field_by_column(k, (Str){folded, name.len});
    }
    if (field >= 0 && is_searchable(k, field))
        return field;
    err_set(err, ERR_BAD_REQUEST, STR_FMT " is not a valid field name", STR_ARG(str_slice(name, 0, 128)));
    return -1;
}

static int resolve_qualified(Parser *p, const Token *part, size_t n, Err *err)
{
    if (n == 1)
        return search_resolve(p->kind, part[0].text, part[0].quoted, err);
    if (!str_ieq(part[0].text, str_from(p->kind->table))) {
        err_set(err, ERR_BAD_REQUEST, STR_FMT " is not a related resource of %s",
                STR_ARG(str_slice(part[0].text, 0, 128)), p->kind->name);
        return -1;
    }
    if (n == 2)
        return search_resolve(p->kind, part[1].text, part[1].quoted, err);
    err_set(err, ERR_BAD_REQUEST, STR_FMT "." STR_FMT "." STR_FMT " is not a valid field name",
            STR_ARG(str_slice(part[0].text, 0, 64)), STR_ARG(str_slice(part[1].text, 0, 64)),
            STR_ARG(str_slice(part[2].text, 0, 64)));
    return -1;
}

/* name | table.name | db.table.name. A name without meaning gives the id's number: nobody sees it, `meaning`
 * is set. */
static int parse_column(Parser *p)
{
    Token part[3];
    size_t n = 0;
    do {
        if (n == 3 || parser_peek(p) != T_IDENT) {
            p->failed = true;
            return FIELD_ID;
        }
        part[n++] = p->lx.tok;
        lexer_next(&p->lx);
    } while (parser_accept(p, T_DOT));
    Err err;
    int field = resolve_qualified(p, part, n, &err);
    if (field < 0)
        parser_meaning(p, err);
    return field < 0 ? FIELD_ID : field;
}

static SearchArith *parse_sum(Parser *p);

static SearchArith *leaf_column(Parser *p)
{
    SearchArith *n = arith_node(0, NULL, NULL);
    n->field = parse_column(p);
    return n;
}

static SearchArith *leaf_number(Parser *p)
{
    SearchLiteral lit;
    if (!parser_number(p, &lit))
        return NULL;
    free(lit.text);
    SearchArith *n = arith_node(0, NULL, NULL);
    n->number = lit.number;
    return n;
}

static SearchArith *parse_atom(Parser *p, bool first)
{
    if (p->failed || !parser_count(p))
        return NULL;
    TokenType t = parser_peek(p);
    if (t == T_IDENT)
        return leaf_column(p);
    if (!first && t != T_LPAREN)
        return leaf_number(p);
    if (t != T_LPAREN || !parser_enter(p)) {
        p->failed = true;
        return NULL;
    }
    lexer_next(&p->lx);
    SearchArith *inner = parse_sum(p);
    parser_expect(p, T_RPAREN);
    p->depth--;
    return inner;
}

static SearchArith *parse_product(Parser *p, bool first)
{
    SearchArith *a = parse_atom(p, first);
    while (!p->failed) {
        TokenType t = parser_peek(p);
        if (t != T_STAR && t != T_SLASH && t != T_PERCENT)
            break;
        lexer_next(&p->lx);
        a = arith_node(t == T_STAR ? '*' : t == T_SLASH ? '/' : '%', a, parse_atom(p, false));
    }
    return a;
}

static SearchArith *parse_sum(Parser *p)
{
    SearchArith *a = parse_product(p, true);
    while (!p->failed) {
        TokenType t = parser_peek(p);
        if (t != T_PLUS && t != T_MINUS)
            break;
        lexer_next(&p->lx);
        a = arith_node(t == T_PLUS ? '+' : '-', a, parse_product(p, false));
    }
    return a;
}

static void require_number(Parser *p, int field)
{
    const Field *f = &p->kind->fields[field];
    if (f->type == FT_INT32 || f->type == FT_INT64 || f->type == FT_DOUBLE)
        return;
    Err err;
    err_set(&err, ERR_BAD_REQUEST, "%s is not a number: there is no arithmetic on it", f->json);
    parser_meaning(p, err);
}

static void check_columns(Parser *p, const SearchArith *a)
{
    /* Depth is bounded by the count of terms. */
    for (; a; a = a->a) {
        if (!a->op && a->field >= 0)
            require_number(p, a->field);
        if (a->b)
            check_columns(p, a->b);
    }
}

void search_left_parse(Parser *p, SearchLeft *ret)
{
    SearchArith *a = parse_sum(p);
    if (p->failed) {
        search_arith_free(a);
        return;
    }
    if (!a->op) { /* a lone leaf is a column: a number never comes first */
        *ret = (SearchLeft){.field = a->field};
        search_arith_free(a);
        return;
    }
    check_columns(p, a);
    const SearchArith *first = a;
    while (first->op)
        first = first->a;
    *ret = (SearchLeft){.field = first->field, .arith = a};
}
