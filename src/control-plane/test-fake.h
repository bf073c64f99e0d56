/*
 * An API server and a runtime in memory, on a fake clock. Nothing completes before the test says so: calls
 * wait in one list, and the test ends them in any order. Both check what must never happen: a phase that
 * moves where it may not, two runners of one session, a run that is started twice.
 */
#pragma once

#include "test-internal.h"
#include "api.h"
#include "base/list.h"
#include "base/map.h"
#include "runtime.h"

typedef struct FakeRun {
    RtObserved seen;
    bool removed; /* only a workspace is left */
    WallUsec made_at;
    char *prompt; /* that it was started with */
    char *name;   /* of the session as ensure() saw it */
    char id[32];
} FakeRun;

typedef struct Fake {
    Api api;
    Runtime runtime;
    FakeClock clock;
    Map *sessions; /* id -> Obj, owned */
    Map *projects, *agents;
    Map *runs;    /* id -> FakeRun, owned */
    Map *started; /* "id/run" -> anything: what was ever started */
    List calls;   /* FakeCall, in order of their start */
    size_t n_calls;
    uint64_t seed;
    unsigned starts, stops, removes, patches, reads;
    unsigned attempts;                         /* calls that reached the server or found it away */
    bool closed;                               /* nothing can be started now */
    unsigned capacity;                         /* runners at a time; 0 = no limit */
    ErrCode fail_patch, fail_get, fail_ensure; /* every call fails with it; ERR_OK = none */
    bool unreachable;                          /* what the runtime says of its place */
    unsigned fail_percent;                     /* of all calls fail with ERR_UNAVAILABLE */
    /* Told of every change of a session on the server (o NULL = deleted). */
    void (*on_event)(void *arg, const char *id, const Obj *o);
    void *on_event_arg;
} Fake;

void fake_init(Fake *f);
void fake_done(Fake *f);

/* The server's side: what users do. */
void fake_create(Fake *f, const char *id, Phase phase);
Obj *fake_session(Fake *f, const char *id); /* NULL when there is none */
Phase fake_phase(Fake *f, const char *id);
bool fake_start(Fake *f, const char *id); /* false: refused */
bool fake_stop(Fake *f, const char *id);
void fake_delete(Fake *f, const char *id);
void fake_touch(Fake *f, Obj *o); /* after the test has changed it */

/* The world's side: what becomes of runners. */
FakeRun *fake_run(Fake *f, const char *id);
void fake_ready(Fake *f, const char *id);
void fake_end(Fake *f, const char *id, RtEnd end, int code);
void fake_vanish(Fake *f, const char *id); /* runner and record */

/* Ends the oldest (or any) waiting call. False: none waits. */
bool fake_step(Fake *f);
bool fake_step_any(Fake *f);
/* A crash of the control plane: what it has asked for may have been done or not, and it hears of nothing. */
void fake_crash(Fake *f);
uint32_t fake_random(Fake *f);
