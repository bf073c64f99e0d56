/* Waiting for objects, for `wait` and for what begins something and offers --wait. */
#pragma once

#include "app.h"

/* Until the session is in that phase. One that ended another way is an error at once; the time of --timeout
   over: exit status 8. Says what came of it. */
int wait_session(App *app, const Args *a, const char *id, const char *phase, Err *err);

#define OPTS_WAIT(until)                                                                                     \
    OPT("wait", BOOL, until), OPT("timeout", DURATION, "with --wait: give up after", .dflt = "10m")
