/*
 * The `search` language (TSL) and orderBy. Text is parsed alone into a tree whose fields come from the kind's
 * table only; the service then ANDs its scope conditions as trees, so that no text can escape them. The store
 * renders trees with bound parameters. Nesting is limited to SEARCH_DEPTH_MAX, terms to SEARCH_TERMS_MAX.
 */
#pragma once

#include "base/clock.h"
#include "kinds/kind.h"

#define SEARCH_DEPTH_MAX 64
#define SEARCH_TERMS_MAX 1000

typedef enum SearchOp {
    S_AND,
    S_OR,
    S_NOT,
    S_EQ,
    S_NE,
    S_LT,
    S_LE,
    S_GT,
    S_GE,
    S_LIKE,
    S_ILIKE,
    S_IS_NULL,
    S_BETWEEN,
    S_IN,
    S_LABEL_IN,     /* the label named by the first literal has one of the others as its value */
    S_LABEL_EXISTS, /* the label named by the first literal is there */
    S_TRUE,
    S_FALSE,
} SearchOp;

typedef struct SearchLiteral {
    bool is_number;
    char *text; /* string value, or the number as written */
    double number;
} SearchLiteral;

/* Arithmetic on the left side of a test: field, then (op number) pairs, left to right with the usual
   precedence already resolved into a postfix list. */
typedef struct SearchLeft {
    int field;
    struct SearchArith *arith; /* NULL = the plain column */
} SearchLeft;

typedef struct SearchArith {
    char op;                   /* '+', '-', '*', '/', '%' */
    struct SearchArith *a, *b; /* op 0: leaf */
    int field;                 /* leaf: >= 0 column, -1 number */
    double number;
} SearchArith;

typedef struct SearchExpr {
    SearchOp op;
    struct SearchExpr *a, *b; /* S_AND, S_OR; S_NOT uses a */
    SearchLeft left;
    SearchLiteral *lits; /* 1, 2 for BETWEEN, any for IN */
    size_t n_lits;
    bool negated; /* NOT LIKE, NOT IN, IS NOT NULL ... */
} SearchExpr;

/* ERR_BAD_REQUEST with the texts of rest-core.md section 4. Empty or blank text gives *ret = NULL. Literal
   types are checked against the field's type here (booleans as 'true'/'false', times as RFC 3339 strings). */
int search_parse(const Kind *k, Str text, SearchExpr **ret, Err *err);
SearchExpr *search_free(SearchExpr *e); /* NULL-safe; iterative */
DEFINE_CLEANUP(SearchExpr, search_free)

/* `labelSelector` in Kubernetes' syntax: =, ==, !=, in, notin, key, !key, joined by commas. ERR_BAD_REQUEST
   for text that is none, and for kinds without labels. Blank text gives *ret = NULL. An object without a
   label is also one whose label has another value. */
int label_selector_parse(const Kind *k, Str text, SearchExpr **ret, Err *err);
bool label_key_ok(Str key); /* [prefix/]name */
bool label_value_ok(Str value);

/* Builders take over their arguments. NULL means "everything" in search_and. */
SearchExpr *search_and(SearchExpr *a, SearchExpr *b);
SearchExpr *search_or(SearchExpr *a, SearchExpr *b);
SearchExpr *search_eq(int field, Str value);
SearchExpr *search_eq_bool(int field, bool value);
SearchExpr *search_is_null(int field);
SearchExpr *search_in(int field, const Str *values, size_t n);
/* op: S_LT, S_LE, S_GT, S_GE or S_EQ */
SearchExpr *search_time(SearchOp op, int field, WallUsec t);
SearchExpr *search_false(void);

typedef struct OrderItem {
    int field;
    bool desc;
} OrderItem;
typedef struct OrderBy {
    OrderItem items[8];
    size_t n;
} OrderBy;
/* "name asc, created_at desc"; ERR_BAD_REQUEST `bad order value '<item>'` / `<name> is not a valid field
 * name`. */
int order_by_parse(const Kind *k, Str text, OrderBy *ret, Err *err);
