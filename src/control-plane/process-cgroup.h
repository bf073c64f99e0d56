/*
 * Limits of runners by control groups (cgroup v2), where the one that we run in was delegated to us (systemd:
 * Delegate=yes). A group cannot have both processes and limited children, so we move ourselves into a child
 * of our group first. Without delegation memory is limited by RLIMIT_DATA, and processors are not.
 *
 * Blocking; all but cgroups_open() is for worker threads too.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/err.h"

typedef struct Cgroups {
    char *base;      /* our group's directory; NULL = none was delegated, or no limit is wanted */
    int64_t mem_max; /* bytes; 0 = no limit */
    int64_t cpu_max; /* thousandths of a processor; 0 = no limit */
} Cgroups;

/* "1.5" -> 1500. */
int cgroups_parse_cpu(const char *text, int64_t *ret, Err *err);
/* proc: "/proc", but for tests. Takes over what is delegated; says in the log what it got. */
void cgroups_open(Cgroups *g, const char *proc, int64_t mem_max, int64_t cpu_max);
void cgroups_close(Cgroups *g);

char *cgroups_path(const Cgroups *g, const char *session_id,
                   int64_t run); /* "" when there is none; caller frees */
int cgroups_make(const Cgroups *g, const char *path, Err *err);
/* Kills all that is in the group and removes it; for "" and for what is not there nothing happens. */
void cgroup_end(const char *path);
