/*
 * The `git` program, for the platform's own use: a fixed argv without a shell, no prompts, no hooks, no
 * helpers that a repository's configuration names as far as git can be told so, and for the rest the same
 * sandbox and environment that the agent has: a repository is the agent's to change, so git in it can do no
 * more than the agent. Output is bounded, every run has a limit of time. Loop thread.
 */
#pragma once

#include "child-env.h"
#include "config.h"
#include "loop/loop.h"

typedef struct GitJob GitJob;

typedef struct GitSpec {
    const RunnerConfig *config;
    const char *dir;         /* where it runs; absolute */
    const char *const *args; /* behind our own options; NULL-ended; what clients named stands behind "--" */
    bool network;            /* it speaks to a server: credentials are there, and only then */
    Usec limit;
    size_t out_max;
} GitSpec;

/* error NULL: exit status 0. Else a sentence with the end of what git said. Both are borrowed. */
typedef void (*GitDone)(void *arg, const char *error, Str out);
GitJob *git_run(Loop *l, const GitSpec *spec, GitDone done,
                void *arg);    /* never NULL; done comes later, once */
GitJob *git_cancel(GitJob *j); /* no done after; NULL-safe */

/* What clients may name. The protocols that are allowed come from the configuration (https and ssh). */
int git_check_url(const RunnerConfig *c, Str url, Err *err);
int git_check_branch(Str branch, Err *err);
int git_check_name(Str name, Err *err); /* of a folder below repos/ or workflows/ */
Str git_name_of_url(Str url);           /* the last part, without .git */

/* git-env.c: what makes git find the session's credentials; called for `network` only. */
void git_env(const RunnerConfig *c, ChildEnv *env);

/* git-identity.c: for the agent's git. email: of the session's credential; empty = the platform's own. */
void git_identity_env(const RunnerConfig *c, Str email, ChildEnv *env);
