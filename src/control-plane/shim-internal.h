/* Shared by the files of the shim only. One thread, no loop: a poll() over a signalfd and the log pipe. */
#pragma once

#include "base/err.h"
#include "shim-spec.h"

/* ---- shim-child.c ---- */

/* What the child needs, prepared before the fork: after it nothing allocates. */
typedef struct ShimChild {
    const ShimSpec *spec;
    char **argv, **env;
    char *listen_pid; /* the entry of env that gets the child's number */
    const char **writable;
    size_t n_writable;
    SandboxMode sandbox;
    int hide_fd;           /* what hides; -1 = nothing */
    char *procs_path;      /* cgroup.procs of the run; NULL = none */
    int log_fd, listen_fd; /* -1 = none */
    int go_fd;             /* a byte = go on, end of file = the shim is gone */
    int error_fd;          /* closed by exec */
    pid_t parent;
} ShimChild;

/* Told through error_fd when the program could not be started. */
typedef struct ChildError {
    int stage; /* index into child_stages */
    int errnum;
} ChildError;
extern const char *const child_stages[];

int shim_child_init(ShimChild *c, const ShimSpec *spec, SandboxMode sandbox, Err *err);
void shim_child_done(ShimChild *c);
void shim_child_main(const ShimChild *c) __attribute__((noreturn));

/* ---- shim-log.c ---- */

/* The runner's output: a file that is moved aside when it gets long; LOG_FILES of them at most. */
#define SHIM_LOG_FILES 3
typedef struct ShimLog {
    int dir_fd, fd;
    int64_t size, max;
} ShimLog;

int shim_log_open(ShimLog *l, const char *dir, int64_t max, Err *err);
void shim_log_close(ShimLog *l);
void shim_log_write(ShimLog *l, Str bytes);
void shim_log_note(ShimLog *l, const char *fmt, ...) PRINTF_LIKE(2, 3); /* a line of the shim's own */
/* Moves what is in the pipe into the log. False: end of file. At most about `budget` bytes. */
bool shim_log_pump(ShimLog *l, int pipe_fd, size_t budget);
