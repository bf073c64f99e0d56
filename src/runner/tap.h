/*
 * The live stream of AG-UI events. Events of the current and the last run stay in a ring; each reader has a
 * cursor into it, so viewers never take events from each other and a slow one costs nothing but its place. A
 * reader that falls behind the ring is ended, as it would miss events.
 *
 * Without Last-Event-ID a reader starts at the current run's RUN_STARTED, or, when no run is active, with the
 * next run. It ends behind RUN_FINISHED or RUN_ERROR, since existing clients reconnect for each run, unless
 * it follows.
 */
#pragma once

#include "agui.h"
#include "loop/loop.h"

typedef struct Tap Tap;
typedef struct TapReader TapReader;

/* Where a reader's bytes go. */
typedef struct TapSink {
    bool (*writable)(void *arg); /* may more be written now? Else tap_resume() follows. */
    void (*write)(void *arg, Str bytes);
    void (*end)(void *arg); /* nothing follows; the reader is gone */
} TapSink;

typedef struct TapOptions {
    uint64_t after_id;  /* Last-Event-ID; 0 = none */
    const char *run_id; /* only this run, which may not have begun; NULL = any */
    bool follow;        /* go on across runs */
    bool snapshots;     /* MESSAGES_SNAPSHOT too */
} TapOptions;

#define TAP_RING_BYTES ((size_t)8 << 20)
#define TAP_HEARTBEAT (15 * USEC_PER_SEC)

/* A reader that got nothing for `heartbeat` (to twice that) gets a comment, so that proxies keep the stream.
 */
Tap *tap_new(Loop *l, size_t ring_bytes, Usec heartbeat);
Tap *tap_free(Tap *t); /* ends every reader; NULL-safe */
void tap_event(Tap *t, const AguiEvent *ev, const char *run_id);
bool tap_running(const Tap *t); /* a run is active */
TapReader *tap_attach(Tap *t, const TapSink *sink, void *arg, const TapOptions *o);
void tap_resume(TapReader *r); /* the sink is writable again */
void tap_detach(TapReader *r); /* the client left; NULL-safe; no sink call after */
size_t tap_readers(const Tap *t);
