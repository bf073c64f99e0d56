/*
 * One agent process: its three pipes, its process group, its end. Output is handed on as it comes; while held
 * back it stays in the pipe, so that the process itself has to wait. What it leaves behind in its group is
 * killed with it.
 */
#pragma once

#include "loop/loop.h"

typedef struct Proc Proc;

typedef struct ProcOps {
    void (*on_out)(void *arg, Str bytes);
    void (*on_err)(void *arg, Str bytes);
    /* It has ended and its output was read. Last call. */
    void (*on_exit)(void *arg, int wait_status);
} ProcOps;

typedef struct ProcSpec {
    const char *const *argv;
    const char *const *envp;
    const char *cwd;
    bool with_stdin; /* else /dev/null */
    int wall_fd;     /* of wall_prepare(); borrowed; 0 or -1 = none */
} ProcSpec;

int proc_start(Loop *l, const ProcSpec *spec, const ProcOps *ops, void *arg, Proc **ret, Err *err);
Proc *proc_free(Proc *p); /* kills the group; no callback after; NULL-safe, safe inside callbacks */
void proc_write(Proc *p, Str bytes); /* queued in order */
void proc_close_stdin(Proc *p);      /* behind what is queued */
void proc_hold(Proc *p, bool hold);
void proc_signal(Proc *p, int signo); /* to the group */
pid_t proc_pid(const Proc *p);

/* "exit status 3", "signal 9 (Killed)" and the short forms "exit_3", "signal_9". */
void proc_status_text(int wait_status, char out[static 64]);
void proc_status_code(int wait_status, char out[static 32]);
