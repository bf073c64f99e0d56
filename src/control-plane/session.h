/*
 * The session reconciler: brings the runner of each session to what the session's phase asks for, and writes
 * back what became of it. Each pass reads the newest session and what the runtime observes, asks
 * plan_session() for the next step, makes it, and goes on until nothing is left to do. A pass never acts on
 * an event.
 *
 * A session that the server does not know loses its runner and its workspace: at once after a delete event,
 * with the doubts of strays.h otherwise. Nothing is removed while the last complete list is older than two
 * minutes.
 */
#pragma once

#include "api.h"
#include "cache.h"
#include "credentials.h"
#include "runtime.h"
#include "session-tokens.h"
#include "strays.h"
#include "workqueue.h"

typedef struct Sessions Sessions;

typedef struct SessionsOptions {
    Api *api;
    Runtime *runtime;
    Cache *cache;
    SessionTokens *tokens;    /* NULL = runners get none */
    Credentials *credentials; /* NULL = runners get none */
    const Clock *clock;
    const char *place;               /* written as kube_namespace: "local" */
    Usec time_limit;                 /* for sessions without a `timeout`; 0 = none */
    unsigned workers;                /* 0 = 8 */
    Usec stray_young, stray_confirm; /* 0 = the usual (strays.h) */
    void (*relist)(void *arg);       /* a fresh list is wanted */
    void (*wake)(void *arg);         /* the queue's next deadline may have moved */
    double (*random)(void *arg);
    void *arg;
} SessionsOptions;

/* All that is pointed to is borrowed and outlives the reconciler. */
Sessions *sessions_new(const SessionsOptions *o);
Sessions *sessions_free(Sessions *s); /* abandons what runs; NULL-safe, returns NULL */

void sessions_add(Sessions *s, const char *id); /* something about this session may have changed */
void sessions_listed(Sessions *s);              /* a complete list has ended: look for strays */
/* What exists of sessions whose deletion was seen, perhaps while nobody led, or before it was known that they
   have anything here: no other event will come. */
void sessions_add_deleted(Sessions *s);
void sessions_sweep(Sessions *s); /* now and then: asks for a list when there may be strays */
WorkQueue *sessions_queue(Sessions *s);
const Strays *sessions_strays(const Sessions *s);
