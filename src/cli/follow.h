/* Following a session: its stored messages from a seq on, replayed and live, across server restarts. */
#pragma once

#include "app.h"

typedef enum FollowEnd {
    FOLLOW_UNTIL_DONE,     /* the session's phase is terminal, or it is gone */
    FOLLOW_UNTIL_RUN_ENDS, /* the first run that ends */
    FOLLOW_FOR_EVER,       /* like UNTIL_DONE, but says so when the server goes away and comes back */
} FollowEnd;

typedef struct FollowOptions {
    const char *session; /* id */
    uint64_t after;
    FollowEnd end;
    uint64_t message; /* with UNTIL_RUN_ENDS: the end of an earlier message is not meant; 0 = any is */
    bool json;        /* messages as JSON, one a line */
} FollowOptions;

/* 0 the session or run ended well; ERR_INTERNAL "run failed"/"session failed" when not. SIGINT and SIGTERM
   end it quietly: app->exit_code is 130 or 143. */
int follow_session(App *app, const FollowOptions *o, Err *err);

/* A session that was just started, from its beginning until it is done. */
int follow_started(App *app, const json_t *session, Err *err);

/* SIGINT and SIGTERM set *done and app->exit_code. */
typedef struct Interrupt Interrupt;
Interrupt *interrupt_new(App *app, bool *done);
Interrupt *interrupt_free(Interrupt *i);
