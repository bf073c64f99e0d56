/*
 * The environment of agents and commands: the runner's own without what is the platform's (tokens, token
 * files, addresses of secrets, sockets), plus what the bridge sets. An agent runs foreign code: what it is
 * not given it cannot leak.
 */
#pragma once

#include <stdbool.h>

typedef struct ChildEnv {
    char **vars; /* NULL-ended */
    unsigned long n, cap;
} ChildEnv;

/* With `model_keys` the child also gets the keys of model providers (ANTHROPIC_API_KEY ...). */
void child_env_init(ChildEnv *e, bool model_keys);
void child_env_done(ChildEnv *e);
void child_env_set(ChildEnv *e, const char *name, const char *value);     /* replaces */
void child_env_default(ChildEnv *e, const char *name, const char *value); /* unless it is there */
const char *child_env_get(const ChildEnv *e, const char *name);           /* NULL = not there; borrowed */
void child_env_unset(ChildEnv *e, const char *name);
bool child_env_is_private(const char *name); /* never handed on */
