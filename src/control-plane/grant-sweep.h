/*
 * Takes back what sessions that are over still hold: grants are revoked when a session ends, but we may end
 * before it is done. Contract: control-plane.md 19.7.
 */
#pragma once

#include "credentials.h"

typedef struct GrantSweep GrantSweep;
typedef struct GrantSweepOptions {
    Credentials *credentials; /* borrowed, as all below */
    /* This session is known to be over, or to be gone. Anything else keeps its grants. */
    bool (*is_over)(void *arg, Str session_id);
    void *arg;
} GrantSweepOptions;

GrantSweep *grant_sweep_new(const GrantSweepOptions *o);
GrantSweep *grant_sweep_free(GrantSweep *s); /* NULL-safe, returns NULL; before the credentials */
void grant_sweep_run(GrantSweep *s);         /* one round, unless one is under way */
