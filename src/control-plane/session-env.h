/*
 * What of a session its runner learns from variables, wherever it runs. Pure; `set` decides what becomes of a
 * name that is there already.
 */
#pragma once

#include "kinds/obj.h"

typedef void (*EnvSet)(void *arg, const char *name, Str value);

/* Model, limits, repositories and workflow. */
void session_env_task(const Obj *session, EnvSet set, void *arg);
/* The session's own variables, those that it may set: last, so that they override nothing. */
void session_env_own(const Obj *session, EnvSet set, void *arg);
/* A session that was made with a task ends with it; one without waits for messages. */
bool session_env_interactive(const Obj *session);
/* May a session set this variable? Not what the loader or an interpreter obeys, nor what belongs to the
 * platform. */
bool runner_env_allowed(const char *name);

bool env_name_in(Str name, const char *const *list, size_t n);
bool env_name_starts(Str name, const char *const *prefixes, size_t n);
