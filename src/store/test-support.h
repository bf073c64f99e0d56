/*
 * What every test file of this room needs: a store on real files, and jobs that are waited for. With the URL
 * of a server in AMBIENT_TEST_POSTGRES (tests/postgres.py) the same tests run there, each in a schema of its
 * own.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "loop/loop.h"
#include "store/store.h"

typedef struct Fixture {
    Loop *loop;
    Store *store;
    FakeClock clock;
    char dir[64];
    char url[512];
    StoreOptions options;
} Fixture;

int fixture_setup(void **state); /* a store on a new file */
int fixture_teardown(void **state);
void fixture_close(Fixture *f); /* closes the store and runs what it posted */
void fixture_reopen(Fixture *f);
char *fixture_path(const Fixture *f, const char *suffix); /* of the database file; caller frees */
bool on_postgres(void);
/* Runs statements on the database, beside the store. */
void change_store(Fixture *f, const char *sql);

/* Runs one job and waits for it. */
int run_job(Fixture *f, StoreMode mode, StoreJob job, void *arg, Err *err);
/* Turns the loop until *flag. */
void wait_for(Fixture *f, const bool *flag);

/* Shorthands, each a job of its own. */
char *new_session(Fixture *f, const char *name);            /* returns its id; caller frees */
Obj *get_object(Fixture *f, const Kind *k, const char *id); /* NULL when there is none */
int insert_object(Fixture *f, Obj *o, Err *err);
bool delete_object(Fixture *f, const Kind *k, const char *id); /* whether there was one */
int push(Fixture *f, const char *session, const char *payload, const char *request_id, Message **ret,
         Err *err);

/* A fixed sequence: a failure is the same on every run. */
static inline uint32_t test_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

#define assert_ok(call, err)                                                                                 \
    do {                                                                                                     \
        if ((call) < 0)                                                                                      \
            fail_msg("%s: %s", #call, (err)->msg);                                                           \
    } while (0)
#define assert_str_equal(str, text)                                                                          \
    do {                                                                                                     \
        Str got_ = (str);                                                                                    \
        if (!str_eqz(got_, (text)))                                                                          \
            fail_msg("got \"" STR_FMT "\", want \"%s\"", STR_ARG(got_), (text));                             \
    } while (0)

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

/* Each file's group: 0, or failures. */
int run_batch_tests(void);
int run_fault_tests(void);
int run_kill_tests(void);
int run_log_tests(void);
int run_migrate_tests(void);
int run_replica_tests(void); /* PostgreSQL only */
int run_search_tests(void);
int run_secrets_tests(void);
int run_tx_tests(void);
