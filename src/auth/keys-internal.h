/*
 * Where signing keys come from: a JWK set in a file, one at a URL, or both (the URL's key wins on an equal
 * kid). A reload replaces the set, so that withdrawn keys are gone; a failed one keeps the old set and is
 * logged. file  looked at before a key is searched, at most every file_interval; read again when it changed
 *   url   fetched at start, every `refresh`, and for an unknown kid at most once per unknown_interval;
 * callers wait A kid that a fresh set does not have is remembered for negative_ttl: it fetches nothing and
 * waits for nothing. Loop thread only.
 */
#pragma once

#include "jwk-internal.h"
#include "loop/loop.h"

typedef struct KeysOptions {
    const char *file, *url; /* NULL = none; borrowed for the object's life */
    const Clock *clock;     /* borrowed */
    Usec file_interval, refresh, unknown_interval, fetch_timeout, negative_ttl, retry_first, retry_max;
    size_t waiters_max;
} KeysOptions;
extern const KeysOptions keys_options_default;

typedef struct Keys Keys;
/* Fails when there is no URL and the file has no key for us. */
int keys_new(Loop *l, const KeysOptions *o, Keys **ret, Err *err);
Keys *keys_free(Keys *k);               /* whoever waits is told ERR_UNAVAILABLE; NULL-safe */
const Jwk *keys_find(Keys *k, Str kid); /* borrowed until the next turn of the loop */

/* key NULL: err says why (ERR_UNAUTHENTICATED: there is no such key; ERR_UNAVAILABLE: keys could not be
 * fetched). */
typedef void (*KeyDone)(void *arg, const Jwk *key, const Err *err);
typedef struct KeyWait KeyWait;
/* After keys_find() gave NULL. 0: `done` will be called; negative: there is nothing to wait for. */
int keys_wait(Keys *k, Str kid, KeyDone done, void *arg, KeyWait **ret, Err *err);
/* The kid is not known here: have a look at the URL, without waiting. */
void keys_look(Keys *k, Str kid);
void keys_wait_cancel(KeyWait *w); /* done is not called; NULL-safe */
