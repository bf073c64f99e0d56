/* What every test file of this room needs: a hub on a real store and a real service, in one loop. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include "hub-internal.h"
#include "base/mem.h"

typedef struct Fixture {
    Loop *loop;
    Store *store;
    Service *service;
    Hub *hub;
    HubOptions options;
    Caller *admin;
    char dir[64];
    char url[128];
    Timer *tick;    /* keeps a waiting loop turning */
    size_t pushing; /* pushes whose answer is not there yet */
} Fixture;

int fixture_setup(void **state);
int fixture_teardown(void **state);
void fixture_new_hub(Fixture *f); /* after a change of the options */
void turn(Fixture *f);            /* one turn of the loop that does not wait for long */
void turn_now(Fixture *f);        /* one that does not wait */
int run_job(Fixture *f, StoreMode mode, StoreJob job, void *arg, Err *err);

char *new_session(Fixture *f, const char *name, const char *project);
void delete_object(Fixture *f, const Kind *k, const char *id);
void insert_object(Fixture *f, Obj *o);
void update_object(Fixture *f, const Kind *k, const char *id, const Obj *changes);
void push(Fixture *f, const char *session, const char *payload);       /* and waits for it */
void push_later(Fixture *f, const char *session, const char *payload); /* counted in f->pushing */

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
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int run_message_tests(void);
int run_event_tests(void);
