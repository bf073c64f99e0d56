/* However a request is cut into pieces, it parses to the same; the first byte of the input seeds the cuts. */
#include <assert.h>
#include "http-internal.h"
#include "parser-internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEADERS_MAX 2048
#define BODY_MAX 512

typedef struct Outcome {
    Parser p;
    ParserNews last;
    size_t used, headers;
} Outcome;

static void feed(Outcome *o, Str bytes)
{
    while (bytes.len > 0 && o->last != PARSER_REQUEST && o->last != PARSER_ERROR) {
        size_t n = parser_feed(&o->p, bytes, &o->last);
        assert(n <= bytes.len && (n > 0 || o->last == PARSER_ERROR));
        o->headers += o->last == PARSER_HEADERS;
        o->used += n;
        bytes = str_slice(bytes, n, bytes.len);
    }
}

static void parse(Outcome *o, Str in, uint32_t seed)
{
    *o = (Outcome){.last = PARSER_MORE};
    parser_init(&o->p, HEADERS_MAX, BODY_MAX, 2 * BODY_MAX);
    for (size_t at = 0; at < in.len;) {
        seed = seed * 1664525U + 1013904223U;
        size_t n = o->last == PARSER_MORE && seed ? 1 + (seed >> 24) % 16 : in.len;
        size_t end = n < in.len - at ? at + n : in.len;
        feed(o, str_slice(in, at, end));
        at = end;
    }
}

/* What was accepted is what the rules allow, whatever path led there. */
static void check_accepted(const Parser *p)
{
    assert(http_is_token(parser_str(p, p->method)) && p->target.len > 0);
    assert(p->n_length + p->n_coding <= 1 && p->n_host <= 1 && (p->n_host == 1 || p->minor == 0));
    assert(p->body.len <= BODY_MAX && p->head.len <= HEADERS_MAX);
    for (size_t i = 0; i < p->fields.len; i++) {
        assert(http_is_token(parser_str(p, p->fields.ptr[i].name)));
        assert(http_is_field_value(parser_str(p, p->fields.ptr[i].value)));
    }
}

static bool is_limit(const Outcome *o)
{
    return o->last == PARSER_ERROR && (o->p.status == 431 || o->p.status == 413);
}

/* Which of two faults is seen first may depend on the cut where one of them is a limit; that there is one may
 * not. */
static void check_same(const Outcome *a, const Outcome *b)
{
    assert((a->last == PARSER_ERROR) == (b->last == PARSER_ERROR));
    assert((a->last == PARSER_REQUEST) == (b->last == PARSER_REQUEST));
    if (a->last == PARSER_ERROR)
        assert(a->p.err.code && *a->p.err.msg && (a->p.status == b->p.status || is_limit(a) || is_limit(b)));
    if (a->last != PARSER_REQUEST)
        return;
    check_accepted(&a->p);
    assert(a->used == b->used && a->headers == b->headers);
    assert(str_eq(buf_str(&a->p.head), buf_str(&b->p.head)) &&
           str_eq(buf_str(&a->p.body), buf_str(&b->p.body)));
    assert(parser_keeps_alive(&a->p) == parser_keeps_alive(&b->p));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    Outcome whole, cut;
    Str in = {(const char *)data + 1, size - 1};
    parse(&whole, in, 0);
    parse(&cut, in, data[0] + 1U);
    check_same(&whole, &cut);
    parser_done(&whole.p);
    parser_done(&cut.p);
    return 0;
}
