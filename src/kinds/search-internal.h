/* The parts of the search parser. Tokens are views into the caller's text. */
#pragma once

#include "kinds/search.h"

#define SEARCH_TEXT_MAX ((size_t)64 << 10)

typedef enum TokenType {
    T_END,
    T_BAD,
    T_IDENT,
    T_NUMBER,
    T_STRING,
    T_LPAREN,
    T_RPAREN,
    T_COMMA,
    T_DOT,
    T_EQ,
    T_NE,
    T_LT,
    T_LE,
    T_GT,
    T_GE,
    T_MATCH,
    T_NO_MATCH,
    T_PLUS,
    T_MINUS,
    T_STAR,
    T_SLASH,
    T_PERCENT,
    T_AND,
    T_OR,
    T_NOT,
    T_IN,
    T_BETWEEN,
    T_LIKE,
    T_ILIKE,
    T_IS,
    T_NULL,
} TokenType;

typedef struct Token {
    TokenType type;
    Str text;    /* inside of quotes for T_STRING and quoted T_IDENT */
    bool quoted; /* T_IDENT */
} Token;

typedef struct Lexer {
    Str text;
    size_t pos;
    Token tok; /* the current one */
} Lexer;

void lexer_init(Lexer *lx, Str text); /* reads the first token */
void lexer_next(Lexer *lx);

typedef struct Parser {
    const Kind *kind;
    Lexer lx;
    unsigned depth;
    size_t terms;
    bool failed;       /* it does not parse: everything returns at once */
    const char *limit; /* failed because of this limit */
    Err meaning;       /* first fault of meaning; reported only when the whole text parses */
} Parser;

static inline TokenType parser_peek(const Parser *p)
{
    return p->lx.tok.type;
}
bool parser_accept(Parser *p, TokenType t); /* takes the token when it is t */
void parser_expect(Parser *p, TokenType t); /* takes t or fails */
bool parser_enter(Parser *p);               /* one level deeper; false when too deep */
bool parser_count(Parser *p);               /* one term more; false when too many */
void parser_meaning(Parser *p, Err fault);  /* keeps the first */
bool parser_number(Parser *p,
                   SearchLiteral *ret); /* [sign] number, text allocated; false (and failed) if none */

/* Left side of a test: a column, or arithmetic that starts with one. */
void search_left_parse(Parser *p, SearchLeft *ret);
void search_arith_free(SearchArith *a);

/* Makes the literals of a test fit the type of its left side, or says why they do not. 0 or -ERR_BAD_REQUEST.
 */
int search_types_fit(const Kind *k, SearchExpr *e, Err *err);

/* A column that clients may search and order by; -1 and "<name> is not a valid field name". Unquoted names
 * fold case. */
int search_resolve(const Kind *k, Str name, bool quoted, Err *err);
