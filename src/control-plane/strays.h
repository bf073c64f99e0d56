/*
 * What exists in the runtime without a session that it belongs to. An answer of the server that a session
 * does not exist is believed only twice, a minute apart and with a complete list between; and when suddenly
 * much is missing (a server that was restored from an old or an empty database looks like that), nothing is
 * removed until three rounds in a row agree. A delete event is not this module's business: that is certain
 * knowledge.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include "base/cleanup.h"
#include "base/clock.h"

#define STRAYS_CONFIRM (60 * USEC_PER_SEC) /* between the two answers */
#define STRAYS_YOUNG (120 * USEC_PER_SEC)  /* what was made this recently is never a stray */
#define STRAYS_BRAKE_MIN 10                /* so many are never too many */
#define STRAYS_BRAKE_PERCENT 20            /* of what exists */
#define STRAYS_BRAKE_ROUNDS 3

typedef struct Strays Strays;
/* Times of 0 are the usual ones. */
Strays *strays_new(const Clock *clock, Usec young, Usec confirm);
Strays *strays_free(Strays *s); /* NULL-safe, returns NULL */
DEFINE_CLEANUP(Strays, strays_free)

/* One round, after a complete list: begin, one add per session id that exists in the runtime and is not known
   (too young ones included), end with the number of all that exist. end returns false when the brake holds.
 */
void strays_round_begin(Strays *s);
void strays_round_add(Strays *s, Str id, WallUsec made_at);
bool strays_round_end(Strays *s, size_t existing);
void strays_each(const Strays *s, void (*each)(void *arg, const char *id),
                 void *arg); /* those of the last round */

typedef enum StrayVerdict {
    STRAY_KEEP,   /* in no round (too young), or held by the brake: a later round decides */
    STRAY_WAIT,   /* ask the server again in *ret_wait */
    STRAY_RELIST, /* a complete list is missing between the two answers */
    STRAY_REMOVE, /* its remains may go */
} StrayVerdict;
/* The server has just said that this session does not exist. `lists` = complete lists so far. */
StrayVerdict strays_gone(Strays *s, Str id, unsigned lists, Usec *ret_wait);
void strays_forget(Strays *s, Str id); /* it exists after all, or its remains are gone */
bool strays_braked(const Strays *s);
size_t strays_count(const Strays *s);
