/* A control plane on the fake server and runtime, for the tests of sessions. */
#pragma once

#include <string.h>
#include "session.h"
#include "test-fake.h"

#define SID "sess-1"

/* Its stream of events is delivered by the test. */
typedef struct Rig {
    Fake f;
    Cache *cache;
    Sessions *s;
    List events;      /* on their way */
    bool deaf;        /* events get lost */
    unsigned relists; /* asked for and not yet done */
} Rig;

void rig_init(Rig *r);
void rig_done(Rig *r);
#define CLEANUP_RIG CLEANUP(rig_done)
/* The next event of the stream; false: there is none. */
bool deliver(Rig *r);
/* A complete list, all at once. */
void relist(Rig *r);
bool queue_due(Rig *r);
/* Runs all that can run without time passing. */
void settle(Rig *r);
/* Lets time pass as the program's timer would see it. */
void pass_time(Rig *r, Usec by);
void assert_phase(Rig *r, const char *id, Phase want);
/* What was under way is lost, or arrives late. */
void restart_control_plane(Rig *r);
/* The reason in a condition, or "". The text lives as long as the session on the server. */
void assert_condition(Rig *r, const char *id, const char *type, const char *status, const char *reason);
void make_running(Rig *r, const char *id);
