/*
 * An answer is seen twice: as pieces while the agent writes it (the runner's events), and whole once it is
 * stored. The stored message is the truth; pieces are shown meanwhile and the whole is then only shown as far
 * as it was not. Either may come first. Pure: what is to be shown comes out, nothing is printed.
 */
#pragma once

#include "base/buf.h"

typedef struct Live Live;
Live *live_new(void);
Live *live_free(Live *l);

/* A message begins, goes on, ends. Pieces of a message whose beginning was not seen are not shown. What is to
   be shown now is added to `out`. */
void live_start(Live *l, Str id, Buf *out);
void live_piece(Live *l, Str id, Str text, Buf *out);
void live_end(Live *l, Str id, Buf *out);

/* The stored message: *ret is what of it is still to be shown, ptr NULL when all of it has been. begun:
   pieces of it stand on the screen, *ret goes on behind them. */
void live_stored(Live *l, Str text, Str *ret, bool *ret_begun);
