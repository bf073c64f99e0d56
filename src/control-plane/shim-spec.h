/*
 * What the control plane tells a shim, as JSON on its standard input, and what the shim answers, as one line
 * of JSON on its standard output. It has the runner's environment with its secrets, so it never is in
 * arguments or files.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/vec.h"
#include "run-state.h"
#include "sandbox/sandbox.h"

typedef VEC_OF(char *)
StrVec; /* owned strings, NULL-ended by strvec_end() */
void strvec_add(StrVec *v, const char *s);
void strvec_take(StrVec *v, char *s);
char **strvec_end(StrVec *v); /* puts a NULL behind the last, which does not count */
void strvec_done(StrVec *v);
void strvec_erase(StrVec *v); /* strvec_done() for secrets */

#define SHIM_SPEC_MAX (8 * 1024 * 1024)
#define SHIM_REPORT_MAX (8 * 1024)

typedef struct ShimSpec {
    char *session;
    int64_t run;
    char *dir;       /* the session's directory, absolute */
    char *workspace; /* where the runner works */
    StrVec argv, env;
    int64_t port;
    bool listen; /* descriptor 3 is the runner's listening socket */
    char *cookie, *agui_token;
    Usec grace;        /* between SIGTERM and SIGKILL */
    int64_t log_max;   /* bytes per log file */
    int64_t mem_max;   /* bytes; 0 = no limit */
    int64_t files_max; /* open files; 0 = as we have */
    int64_t uid, gid;  /* -1 = stay who we are */
    SandboxMode sandbox;
    StrVec writable; /* beside the workspace */
    StrVec hidden;   /* cannot be opened, but for the session's directory */
    char *cgroup;    /* directory of the run's control group; "" = none */
} ShimSpec;

void shim_spec_init(ShimSpec *s);
void shim_spec_done(ShimSpec *s); /* erases the environment before it goes */
#define CLEANUP_SHIM_SPEC CLEANUP(shim_spec_done)
int shim_spec_write(const ShimSpec *s, Buf *out, Err *err);
int shim_spec_read(Str text, ShimSpec *ret, Err *err); /* into an initialised one */

/* code ERR_OK: the runner runs and its state is on disk. ERR_CONFLICT: a shim of this session lives, or this
   run has been; nothing was started, the files say what is. Anything else: nothing was started. */
typedef struct ShimReport {
    ErrCode code;
    char message[256];
} ShimReport;
void shim_report_write(const ShimReport *r, Buf *out);
int shim_report_read(Str text, ShimReport *ret, Err *err);
