/*
 * The credentials of the session: their tokens are fetched from the API server with the session's own token,
 * before the first turn and again when a turn begins and they are older than a minute, so that a rotated
 * token is used by the next turn. The agent gets them as its tools expect them: variables, files in a private
 * directory, a git helper for exactly the credential's host. Every value that was ever fetched is masked in
 * what the session shows. Contract: runner.md 12.
 */
#pragma once

#include "child-env.h"
#include "client/client.h"
#include "config.h"
#include "redact.h"

typedef struct RunnerCredentials RunnerCredentials; /* RunnerConfig has a pointer to it, for git */
typedef struct RunnerCredentialsOptions {
    const RunnerConfig *config; /* borrowed, as all below */
    TokenSource *token;
    RedactSet *redact;
    /* The tokens are as fresh as they can be: runner_credentials_ready() is true now. */
    void (*on_ready)(void *arg);
    /* For people: a credential could not be read. Once for each. */
    void (*on_trouble)(void *arg, const char *text);
    void *arg;
} RunnerCredentialsOptions;

/* *ret NULL when the session has none. Values that were fetched are removed by _free. */
int runner_credentials_new(Loop *l, const RunnerCredentialsOptions *o, RunnerCredentials **ret, Err *err);
RunnerCredentials *runner_credentials_free(RunnerCredentials *c);
/* May a turn begin? False: they are being fetched, on_ready follows. NULL: true. */
bool runner_credentials_ready(RunnerCredentials *c);
/* Fetches them now, whatever their age; on_ready follows. */
void runner_credentials_refresh(RunnerCredentials *c);
size_t runner_credentials_count(const RunnerCredentials *c);
/* The first one. Borrowed, until the next on_ready. */
const struct Held *runner_credentials_held(const RunnerCredentials *c);
/* Account of the first credential that git uses; empty = none is known. Borrowed until the next round. */
Str runner_credentials_git_email(const RunnerCredentials *c); /* c may be NULL */
/* Into the environment of an agent's process. NULL: nothing. */
void runner_credentials_env(const RunnerCredentials *c, ChildEnv *env);
/* Only what makes git find them. */
void runner_credentials_git_env(const RunnerCredentials *c, ChildEnv *env);
