/* Shared by the unit tests of this room. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>
#include "base/mem.h"
#include "emitter.h"
#include "json/json.h"
#include "loop/loop.h"

/* Turns the loop until the condition holds. A test that waits for ever is ended by the alarm. */
#define PUMP_UNTIL(l, cond)                                                                                  \
    do {                                                                                                     \
        alarm(30);                                                                                           \
        while (!(cond))                                                                                      \
            loop_run_once((l), true);                                                                        \
        alarm(0);                                                                                            \
    } while (0)

/*
 * What an emitter says, kept and judged: every event must be acceptable to the public AG-UI verifier, else
 * `flaw` says why not. `shape` is the sequence of events in short: R( run started, R) finished, R! error, T(
 * T. T) text, C( C. C) call, C= its result, ( . ) reasoning, S state, M messages, X custom.
 */
typedef struct Recorder {
    FakeClock clock;
    RedactSet *redact;
    Emitter *emitter;
    Buf shape;
    Buf events;  /* one JSON text per line */
    Buf records; /* "type payload" per line */
    Buf text;    /* deltas of text messages, joined */
    char flaw[256];
    bool run, over, text_open, reasoning_open;
    char text_id[64];
    unsigned open_calls;
} Recorder;

void recorder_init(Recorder *r);
void recorder_done(Recorder *r);
void recorder_begin(Recorder *r, const char *text); /* a run with this message, seq 7 */
void recorder_clear(Recorder *r);                   /* forgets what was said */
/* The n-th event of a type, parsed; NULL when there are fewer. New reference. */
json_t *recorder_event(const Recorder *r, const char *type, unsigned n);

#define assert_shape(r, want)                                                                                \
    do {                                                                                                     \
        assert_string_equal((r)->flaw, "");                                                                  \
        assert_string_equal((r)->shape.data ? (r)->shape.data : "", want);                                   \
    } while (0)
#define assert_records(r, want) assert_string_equal((r)->records.data ? (r)->records.data : "", want)

int run_claude_tests(void);
int run_config_tests(void);
int run_emitter_tests(void);
int run_outbox_tests(void);
int run_proc_tests(void);
int run_workspace_tests(void);
int run_git_tests(void);
int run_provider_tests(void);
int run_run_input_tests(void);
int run_scan_tests(void);
int run_tap_tests(void);
int run_text_tests(void);
