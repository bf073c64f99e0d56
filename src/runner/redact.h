/*
 * Keeps secrets out of what the agent says: exact values that the runner knows become [REDACTED_<NAME>]. In a
 * stream of pieces, the end of a piece that could be the start of a secret waits for the next piece.
 */
#pragma once

#include "base/buf.h"
#include "base/secret.h"

#define REDACT_MIN 8 /* shorter values would hit ordinary words */

typedef struct RedactSet RedactSet;
RedactSet *redact_set_new(void);
RedactSet *redact_set_free(RedactSet *s);                       /* NULL-safe */
void redact_set_add(RedactSet *s, const char *name, Str value); /* copies; short values are ignored */

/* A whole text. A NULL set copies. */
void redact_text(const RedactSet *s, Str in, Buf *out);

typedef struct RedactStream {
    Buf held;
} RedactStream;
void redact_stream_init(RedactStream *r);
void redact_stream_done(RedactStream *r);
void redact_stream(const RedactSet *s, RedactStream *r, Str in, Buf *out);
void redact_stream_end(const RedactSet *s, RedactStream *r, Buf *out);
