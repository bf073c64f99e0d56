/*
 * The environment of a runner: what the host allows, what the platform sets (contract 9.1 as far as it
 * applies to a local process), then the session's own variables, which can override neither. Pure.
 */
#pragma once

#include "config.h"
#include "kinds/obj.h"

typedef struct RunnerEnv {
    const Config *config;
    const char *const *host; /* environ */
    const Obj *session;
    int64_t run;
    int64_t port;
    const char *cookie; /* RUN_COOKIE_NAME's value; comes first, so that it is quick to find */
    const char *workspace;
    const char *hidden; /* what the runner is to hide from its agent; NULL = nothing */
    const char *tmp;    /* the session's own place for temporary files */
    const char *token_file;
    const char *agui_token;
    Str credential_ids;      /* JSON; empty = none */
    const char *prompt_file; /* NULL: the prompt goes into the environment */
    Str prompt;
    const char *token_url, *token_key; /* of the token endpoint; NULL = runners are not told */
} RunnerEnv;

/* A longer prompt goes into a file: one variable of an exec has 128 KiB at most. */
#define PROMPT_ENV_MAX (32 * 1024)

void runner_env_build(const RunnerEnv *e, StrVec *ret);
