/*
 * Incremental parser of HTTP/1.1 requests (RFC 9112): bytes in, in pieces of any size, one request out. No
 * I/O, no time. Strict: whatever two readers could understand differently is refused.
 *
 *   LINE -> FIELDS -> [ LENGTH_BODY | CHUNK_SIZE <-> CHUNK_DATA, CHUNK_END -> TRAILERS ] -> DONE
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

typedef enum ParserState {
    PARSER_LINE,
    PARSER_FIELDS,
    PARSER_LENGTH_BODY,
    PARSER_CHUNK_SIZE,
    PARSER_CHUNK_DATA,
    PARSER_CHUNK_END, /* the line end behind a chunk's data */
    PARSER_TRAILERS,
    PARSER_DONE,
    PARSER_FAILED,
} ParserState;

typedef enum ParserNews {
    PARSER_MORE,    /* all bytes are used up, more are wanted */
    PARSER_HEADERS, /* the header block is complete and a body follows; once a request */
    PARSER_REQUEST, /* the request is complete */
    PARSER_ERROR,   /* see `status` and `err`; the rest of the input has no meaning */
} ParserNews;

/* Offsets into `head`, as that may move while it grows. */
typedef struct Span {
    unsigned at, len;
} Span;
typedef struct Field {
    Span name, value;
} Field;

typedef struct Parser {
    ParserState state;
    Buf head;       /* request line and header lines; the limit is its maximum */
    Buf body;       /* likewise */
    size_t line_at; /* where the unfinished line begins in head */
    VEC_OF(Field)
    fields;
    Span method, target;
    size_t upload_max;
    unsigned minor; /* HTTP/1.minor */
    unsigned n_host, n_length, n_coding;
    bool chunked, close, keep_alive, expect_continue;
    uint64_t left;      /* of the body, or of the chunk */
    size_t chunk_extra; /* bytes of chunk extensions and trailers */
    Buf line;           /* an unfinished line of the chunked coding */
    int status;         /* of the answer to a refused request */
    Err err;
} Parser;

/* `upload_max`: of a PUT's body, when it is more. */
void parser_init(Parser *p, size_t headers_max, size_t body_max, size_t upload_max);
void parser_done(Parser *p);
/* Takes bytes until there are news; returns how many. */
size_t parser_feed(Parser *p, Str bytes, ParserNews *news);
int parser_refuse(Parser *p, int status, ErrCode code, const char *why); /* -(int)code */
bool parser_keeps_alive(const Parser *p); /* by the client's wish and version */

static inline Str parser_str(const Parser *p, Span s)
{
    return str_slice(buf_str(&p->head), s.at, (size_t)s.at + s.len);
}
