/*
 * What is on disk about one run, in the session's directory:
 *
 *     .runner.json  who runs: written by the shim before the runner's program starts; readable by us only
 *     exit_code     how it ended: written by the shim when nothing of it is left
 *     .stop         why it was asked to stop: written by the control plane before it asks
 *     .lock         held by the shim as long as it lives
 *
 * Each file is replaced as a whole, so that a reader finds the old or the new one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "proc.h"
#include "runtime.h"

#define RUN_STATE_FILE ".runner.json"
#define RUN_EXIT_FILE "exit_code"
#define RUN_STOP_FILE ".stop"
#define RUN_LOCK_FILE ".lock"
#define RUN_COOKIE_MAX 48

typedef struct RunState {
    int64_t run;
    pid_t shim_pid, pid; /* pid is also the runner's process group and session */
    int64_t shim_ticks, pid_ticks;
    int64_t port;
    WallUsec started_at;
    char boot_id[BOOT_ID_MAX];
    char agui_token[RUN_COOKIE_MAX]; /* that the runner expects of its callers; a secret */
    char cookie[RUN_COOKIE_MAX]; /* value of RUN_COOKIE_NAME in the environment of all that the run started */
    char cgroup[384];            /* directory of its control group; "" = none */
    char sandbox[16];
    char cmd[128];
} RunState;

/* Marks the processes of a run, to find those that their shim could not end. */
#define RUN_COOKIE_NAME "AMBIENT_RUN_COOKIE"

typedef struct RunExit {
    int64_t run;
    RtEnd end; /* EXIT, SIGNAL or OOM */
    int code;
    WallUsec ended_at;
} RunExit;

/* ERR_NOT_FOUND when there is none; ERR_CORRUPT when it is not ours. */
int run_state_read(const char *dir, RunState *ret, Err *err);
int run_state_write(const char *dir, const RunState *s, Err *err);
int run_exit_read(const char *dir, RunExit *ret, Err *err);
int run_exit_write(const char *dir, const RunExit *e, Err *err);
RtStop run_stop_read(const char *dir);
int run_stop_write(const char *dir, RtStop why, Err *err);
/* Forgets the run: removes all of these but the lock. */
int run_state_clear(const char *dir, Err *err);
/* The process of the shim, as a pidfd; -1 when it does not live any more. */
int run_state_open_shim(const RunState *s);
