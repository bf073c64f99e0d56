/* What the tests of this room share: a service over a store on real files, and calls that are waited for. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <cmocka.h>
#include "base/mem.h"
#include "service/service.h"

typedef struct World {
    Loop *loop;
    Store *store;
    Service *service;
    Caller *admin, *platform, *alice, *bob; /* platform: a service caller */
    char dir[64];
} World;

int world_setup(void **state);
int world_teardown(void **state);
void world_load(World *w); /* service_load(), waited for */

/* One answer, kept. */
typedef struct Got {
    bool done;
    unsigned calls;
    Err err; /* code 0 = fine */
    Obj *obj;
    size_t n_items, n_messages;
    int64_t total;
    bool created, more;
    char *text;
    char *first_payload; /* of a message list */
    uint64_t seq;
} Got;
void got_free(Got *g);
#define CLEANUP_GOT CLEANUP(got_free)
void got_answer(void *arg, SvcAnswer *a); /* a SvcDone */
void got_wait(World *w, Got *g);

SvcCtx ctx(Caller *c);
Got do_get(World *w, Caller *c, const Kind *k, const char *id);
Got do_create(World *w, Caller *c, const Kind *k, const char *project, const char *parent, const char *json);
Got do_patch(World *w, Caller *c, const Kind *k, const char *id, const char *json);
Got do_delete(World *w, Caller *c, const Kind *k, const char *id);
Got do_list(World *w, Caller *c, const Kind *k, const char *project, const char *parent, const char *search);
Got do_status(World *w, Caller *c, const char *id, const char *json);
Got do_start(World *w, Caller *c, const char *project, const char *agent, const char *prompt);
Got do_push(World *w, Caller *c, const char *session, const char *type, const char *payload);
/* Makes one by the admin and returns its id; caller frees. */
char *make(World *w, Caller *owner, const Kind *k, const char *project, const char *parent, const char *json);

int run_access_tests(void);
int run_rules_tests(void);
int run_schedule_tests(void);
int run_prompt_tests(void);
