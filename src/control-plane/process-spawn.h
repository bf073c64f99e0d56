/*
 * Starts one shim and hears what it answers: writes the spec to its standard input, reads the report from its
 * standard output. Loop thread.
 */
#pragma once

#include "loop/loop.h"
#include "shim-spec.h"

typedef struct Spawn Spawn;
/* report NULL: the shim could not be started or did not answer, err says why. */
typedef void (*SpawnDone)(void *arg, const ShimReport *report, const Err *err);

/* program: ourselves. listen_fd arrives as the runner's listening socket (-1 = none); borrowed. `done` comes
   later, exactly once, unless the Spawn is freed before. */
int spawn_start(Loop *l, const char *program, const ShimSpec *spec, int listen_fd, SpawnDone done, void *arg,
                Spawn **ret, Err *err);
Spawn *spawn_free(Spawn *s); /* hears no more; what was started goes on. NULL-safe, returns NULL */
