/*
 * Text into a tree, by recursive descent of limited depth. The text either parses as a whole or is refused:
 * no tree ever comes from a part of it, and nothing is glued to it, so a search cannot leave its scope
 * (rest-core.md 3.2).
 */
#include "search-internal.h"
#include "base/mem.h"

bool parser_accept(Parser *p, TokenType t)
{
    if (p->failed || parser_peek(p) != t)
        return false;
    lexer_next(&p->lx);
    return true;
}

void parser_expect(Parser *p, TokenType t)
{
    if (!parser_accept(p, t))
        p->failed = true;
}

static bool over_limit(Parser *p, const char *what)
{
    p->failed = true;
    p->limit = what;
    return false;
}

bool parser_enter(Parser *p)
{
    if (p->depth >= SEARCH_DEPTH_MAX)
        return over_limit(p, "search query is nested too deeply");
    p->depth++;
    return true;
}

bool parser_count(Parser *p)
{
    if (p->terms >= SEARCH_TERMS_MAX)
        return over_limit(p, "search query has too many terms");
    p->terms++;
    return true;
}

void parser_meaning(Parser *p, Err fault)
{
    if (p->meaning.code == ERR_OK)
        p->meaning = fault;
}

bool parser_number(Parser *p, SearchLiteral *ret)
{
    bool minus = parser_accept(p, T_MINUS);
    if (!minus)
        parser_accept(p, T_PLUS);
    Str digits = p->lx.tok.text;
    double v;
    if (!parser_accept(p, T_NUMBER) || str_to_double(digits, &v) < 0) {
        p->failed = true;
        return false;
    }
    *ret = (SearchLiteral){.is_number = true, .number = minus ? -v : v};
    ret->text = xasprintf("%s" STR_FMT, minus ? "-" : "", STR_ARG(digits));
    return true;
}

static char *unquote(Str s)
{
    char *out = xmalloc(s.len + 1), *to = out;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\'')
            i++; /* the lexer saw to it that quotes come in pairs */
        *to++ = s.ptr[i];
    }
    *to = '\0';
    return out;
}

static void add_literal(SearchExpr *e, SearchLiteral lit)
{
    e->lits = xrealloc(e->lits, (e->n_lits + 1) * sizeof(*e->lits));
    e->lits[e->n_lits++] = lit;
}

static void parse_string(Parser *p, SearchExpr *e)
{
    Str s = p->lx.tok.text;
    if (!parser_accept(p, T_STRING))
        p->failed = true;
    else if (parser_count(p))
        add_literal(e, (SearchLiteral){.text = unquote(s)});
}

static void parse_literal(Parser *p, SearchExpr *e)
{
    SearchLiteral lit;
    if (p->failed)
        return;
    if (parser_peek(p) == T_STRING)
        parse_string(p, e);
    else if (parser_count(p) && parser_number(p, &lit))
        add_literal(e, lit);
}

static SearchExpr *node(SearchOp op, SearchExpr *a, SearchExpr *b)
{
    SearchExpr *e = xnew(SearchExpr);
    *e = (SearchExpr){.op = op, .a = a, .b = b};
    return e;
}

static void parse_regex(Parser *p, SearchExpr *e, const char *name)
{
    Err err;
    parse_literal(p, e);
    err_set(&err, ERR_BAD_REQUEST, "unexpected literal: %s", name);
    parser_meaning(p, err);
}

static void parse_is(Parser *p, SearchExpr *e)
{
    bool negated = parser_accept(p, T_NOT);
    if (parser_accept(p, T_NULL)) {
        e->op = S_IS_NULL;
        e->negated = negated;
        return;
    }
    e->op = negated ? S_NE : S_EQ;
    parse_literal(p, e);
}

static void parse_in(Parser *p, SearchExpr *e)
{
    e->op = S_IN;
    parser_expect(p, T_LPAREN);
    if (parser_accept(p, T_RPAREN)) { /* nothing is in an empty list, not even NULL is in doubt */
        e->op = e->negated ? S_TRUE : S_FALSE;
        e->negated = false;
        return;
    }
    do
        parse_literal(p, e);
    while (parser_accept(p, T_COMMA));
    parser_expect(p, T_RPAREN);
}

/* What may stand behind [NOT]. */
static void parse_word_test(Parser *p, SearchExpr *e)
{
    if (parser_accept(p, T_IN)) {
        parse_in(p, e);
    } else if (parser_accept(p, T_BETWEEN)) {
        e->op = S_BETWEEN;
        parse_literal(p, e);
        parser_expect(p, T_AND);
        parse_literal(p, e);
    } else if (parser_accept(p, T_LIKE)) {
        e->op = S_LIKE;
        parse_string(p, e);
    } else if (parser_accept(p, T_ILIKE)) {
        e->op = S_ILIKE;
        parse_string(p, e);
    } else {
        p->failed = true;
    }
}

static void parse_operator(Parser *p, SearchExpr *e)
{
    TokenType t = parser_peek(p);
    if (t >= T_EQ && t <= T_GE) {
        static const SearchOp op[] = {S_EQ, S_NE, S_LT, S_LE, S_GT, S_GE}; /* in the order of the tokens */
        e->op = op[t - T_EQ];
        lexer_next(&p->lx);
        parse_literal(p, e);
    } else if (parser_accept(p, T_MATCH)) {
        parse_regex(p, e, "$regex");
    } else if (parser_accept(p, T_NO_MATCH)) {
        parse_regex(p, e, "$nregex");
    } else if (parser_accept(p, T_IS)) {
        parse_is(p, e);
    } else {
        e->negated = parser_accept(p, T_NOT);
        parse_word_test(p, e);
    }
}

static SearchExpr *parse_test(Parser *p)
{
    SearchExpr *e = node(S_EQ, NULL, NULL);
    Err err;
    search_left_parse(p, &e->left);
    if (p->failed)
        return e;
    parse_operator(p, e);
    /* After a fault of meaning the column is a stand-in. */
    if (!p->failed && p->meaning.code == ERR_OK && search_types_fit(p->kind, e, &err) < 0)
        parser_meaning(p, err);
    return e;
}

/* At "(": does it open the left side of a test? Then an operator follows the ")" that closes it. */
static bool paren_is_left_side(const Parser *p)
{
    Lexer look = p->lx;
    size_t open = 0;
    do {
        if (look.tok.type == T_END || look.tok.type == T_BAD)
            return false;
        if (look.tok.type == T_LPAREN)
            open++;
        else if (look.tok.type == T_RPAREN)
            open--;
        lexer_next(&look);
    } while (open);
    TokenType t = look.tok.type;
    return (t >= T_EQ && t <= T_PERCENT) || (t >= T_NOT && t <= T_IS);
}

static SearchExpr *parse_or(Parser *p);

static SearchExpr *parse_primary(Parser *p)
{
    if (p->failed)
        return NULL;
    if (parser_peek(p) != T_LPAREN || paren_is_left_side(p))
        return parse_test(p);
    if (!parser_enter(p))
        return NULL;
    lexer_next(&p->lx);
    SearchExpr *e = parse_or(p);
    parser_expect(p, T_RPAREN);
    p->depth--;
    return e;
}

static SearchExpr *parse_not(Parser *p)
{
    if (!parser_accept(p, T_NOT))
        return parse_primary(p);
    if (!parser_enter(p))
        return NULL;
    SearchExpr *e = node(S_NOT, parse_not(p), NULL);
    p->depth--;
    return e;
}

static SearchExpr *parse_and(Parser *p)
{
    SearchExpr *e = parse_not(p);
    while (parser_accept(p, T_AND))
        e = node(S_AND, e, parse_not(p));
    return e;
}

static SearchExpr *parse_or(Parser *p)
{
    SearchExpr *e = parse_and(p);
    while (parser_accept(p, T_OR))
        e = node(S_OR, e, parse_and(p));
    return e;
}

static int refuse(const Parser *p, Str text, Err *err)
{
    if (p->limit)
        return err_set(err, ERR_BAD_REQUEST, "%s", p->limit);
    return err_set(err, ERR_BAD_REQUEST, "Failed to parse search query: " STR_FMT, STR_ARG(text));
}

int search_parse(const Kind *k, Str text, SearchExpr **ret, Err *err)
{
    text = str_trim(text);
    if (!text.len) {
        *ret = NULL;
        return 0;
    }
    if (text.len > SEARCH_TEXT_MAX)
        return err_set(err, ERR_BAD_REQUEST, "search query is too long");
    Parser p = {.kind = k};
    if (!str_is_utf8(text))
        return refuse(&p, STR_NULL, err);
    lexer_init(&p.lx, text);
    CLEANUP(search_freep) SearchExpr *e = parse_or(&p);
    parser_expect(&p, T_END);
    if (p.failed)
        return refuse(&p, text, err);
    if (p.meaning.code != ERR_OK)
        return err_set(err, p.meaning.code, "%s", p.meaning.msg);
    *ret = TAKE(e);
    return 0;
}
