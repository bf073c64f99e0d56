/* Where a session's bytes go. The session never waits: it asks full() and goes on when its owner flushes it
 * again. */
#pragma once

#include "base/clock.h"
#include "grpc/frame.h"

typedef struct H2Sink {
    void *arg;
    void (*write)(void *arg, Str bytes); /* copies */
    void (*write_frame)(void *arg, GrpcFrame *f,
                        Str part);   /* part of f; may hold a reference until it is sent */
    bool (*full)(void *arg);         /* no more now */
    void (*wake)(void *arg);         /* flush me, later in this turn; cheap */
    void (*due)(void *arg, Usec at); /* tick me at this time at the latest */
} H2Sink;
