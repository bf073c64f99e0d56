#include "test-internal.h"

#include <stdio.h>
#include "pb/ambient.h"
#include "pb/pb.h"

typedef struct Got {
    FakeApi *api;
    ClientWatch *watch;
    unsigned opened, broken, ended, relisted, messages, events;
    uint64_t last_seq;
    bool in_order, free_at_message, free_client;
    WallUsec created_at;
    ErrCode code;
    int type;
    char id[32], name[32], version[32], payload[32];
} Got;

static void on_open(void *arg)
{
    ((Got *)arg)->opened++;
}

static void on_message(void *arg, const ClientMessage *m)
{
    Got *g = arg;

    g->in_order = g->in_order && m->seq == g->last_seq + 1;
    g->last_seq = m->seq;
    g->created_at = m->created_at;
    snprintf(g->payload, sizeof(g->payload), STR_FMT, STR_ARG(m->payload));
    g->messages++;
    if (g->free_at_message)
        g->watch = client_watch_free(g->watch);
    if (g->free_client)
        g->api->client = client_free(g->api->client);
}

static void on_event(void *arg, int type, Obj *o, Str id, Str version)
{
    Got *g = arg;

    g->events++;
    g->type = type;
    snprintf(g->id, sizeof(g->id), STR_FMT, STR_ARG(id));
    snprintf(g->version, sizeof(g->version), STR_FMT, STR_ARG(version));
    snprintf(g->name, sizeof(g->name), "%s", o ? obj_cstr(o, USER_USERNAME) : "");
    obj_free(o);
}

static void on_relist(void *arg)
{
    ((Got *)arg)->relisted++;
}

static void on_broken(void *arg, const Err *err)
{
    Got *g = arg;
    g->broken++;
    g->code = err->code;
}

static void on_end(void *arg, const Err *err)
{
    Got *g = arg;
    g->ended++;
    g->code = err->code;
}

static const WatchOps ops = {on_open, on_message, on_event, on_relist, on_broken, on_end};

static FakeApi *follow(Got *g, uint64_t after)
{
    FakeApi *api = fake_api_new("home");

    *g = (Got){.api = api, .in_order = true, .last_seq = after};
    g->watch = client_watch_messages(api->client, STR("s1"), after, &ops, g);
    return api;
}

static void done(Got *g)
{
    client_watch_free(g->watch);
    fake_api_free(g->api);
}

static void test_watch__goes_on_from_the_last_message_after_a_break(void **state)
{
    Got g;
    FakeApi *api = follow(&g, 0);

    api->rows = 5;
    PUMP_UNTIL(api->loop, g.messages == 5);
    assert_int_equal(g.opened, 1);
    assert_int_equal(g.created_at.us, 1000 * (int64_t)USEC_PER_SEC + 5);
    assert_string_equal(g.payload, "payload 5");
    assert_string_equal(api->seen[0].bearer, "Bearer a-token");
    assert_string_equal(api->seen[0].project, "home");
    for (unsigned round = 1; round <= 3; round++) {
        fake_api_end_stream(api, round == 2 ? GRPC_OK : GRPC_UNAVAILABLE);
        PUMP_UNTIL(api->loop, g.opened == round + 1);
        assert_int_equal(api->after_seq, 4 + round);
        assert_int_equal(g.broken, round);
        api->rows++;
        fake_api_wake(api);
        PUMP_UNTIL(api->loop, g.messages == 5 + round);
    }
    assert_true(g.in_order);
    assert_int_equal(g.ended, 0);
    done(&g);
}

static void test_watch__begins_behind_the_given_message(void **state)
{
    Got g;
    FakeApi *api = follow(&g, 3);

    api->rows = 4;
    PUMP_UNTIL(api->loop, g.messages == 1);
    assert_int_equal(api->after_seq, 3);
    assert_int_equal(g.last_seq, 4);
    done(&g);
}

static void test_watch__a_token_that_was_rotated_is_used_at_the_next_opening(void **state)
{
    Got g;
    FakeApi *api = follow(&g, 0);

    PUMP_UNTIL(api->loop, g.opened == 1);
    token_source_set(api->token, STR("rotated"));
    fake_api_end_stream(api, GRPC_UNAUTHENTICATED);
    PUMP_UNTIL(api->loop, g.opened == 2);
    assert_string_equal(api->seen[1].bearer, "Bearer rotated");
    done(&g);
}

static void test_watch__a_session_that_is_not_there_ends_it(void **state)
{
    Got g;
    FakeApi *api = follow(&g, 0);

    api->refuse = GRPC_NOT_FOUND;
    PUMP_UNTIL(api->loop, g.ended == 1);
    assert_int_equal(g.code, ERR_NOT_FOUND);
    assert_int_equal(g.broken, 0);
    assert_int_equal(api->n_streams, 1);
    done(&g);
}

static void test_watch__refusals_are_tried_again(void **state)
{
    Got g;
    FakeApi *api = follow(&g, 0);

    api->refuse = GRPC_UNAVAILABLE;
    PUMP_UNTIL(api->loop, g.broken == 3);
    api->refuse = GRPC_OK;
    PUMP_UNTIL(api->loop, g.opened == 1);
    assert_int_equal(g.ended, 0);
    done(&g);
}

static void test_watch__survives_a_server_that_goes_and_comes(void **state)
{
    Got g;
    FakeApi *api = follow(&g, 0);

    api->rows = 2;
    PUMP_UNTIL(api->loop, g.messages == 2);
    api->grpc = grpc_server_free(api->grpc);
    PUMP_UNTIL(api->loop, g.broken >= 1);
    assert_int_equal(g.ended, 0);
    done(&g);
}

static void test_watch__freed_inside_a_message_it_stays_silent(void **state)
{
    Got g;
    FakeApi *api = follow(&g, 0);

    g.free_at_message = true;
    api->rows = 5;
    PUMP_UNTIL(api->loop, g.messages == 1);
    loop_run_once(api->loop, false);
    assert_int_equal(g.messages, 1);
    done(&g);
}

static void test_watch__client_freed_inside_a_message(void **state)
{
    Got g;
    FakeApi *api = follow(&g, 0);

    g.free_client = true;
    api->rows = 5;
    PUMP_UNTIL(api->loop, g.messages == 1);
    loop_run_once(api->loop, false);
    assert_int_equal(g.messages, 1);
    assert_int_equal(g.broken + g.ended, 0);
    done(&g); /* the watch is still the owner's to free */
}

/* ---- kinds ---- */

static void add_event(FakeApi *api, int type, const char *id, const char *name, const char *version)
{
    Ambient__V1__UserWatchEvent e = AMBIENT__V1__USER_WATCH_EVENT__INIT;
    Ambient__V1__User u = AMBIENT__V1__USER__INIT;
    Ambient__V1__ObjectReference ref = AMBIENT__V1__OBJECT_REFERENCE__INIT;
    CLEANUP_FREE char *id_copy = xstrdup(id), *name_copy = name ? xstrdup(name) : NULL,
                      *version_copy = version ? xstrdup(version) : NULL;
    Buf *b = &api->events[api->n_events++];

    e.has_type = 1;
    e.type = (Ambient__V1__EventType)type;
    e.resource_id = id_copy;
    e.resource_version = version_copy;
    if (name) {
        ref.id = id_copy;
        u.metadata = &ref;
        u.username = name_copy;
        e.user = &u;
    }
    buf_init(b, 4096);
    size_t len = pb_size(&e.base);
    pb_pack(&e.base, buf_reserve(b, len));
    buf_commit(b, len);
}

static FakeApi *follow_users(Got *g, const char *version)
{
    FakeApi *api = fake_api_new(NULL);

    *g = (Got){.api = api};
    g->watch = client_watch_kind(api->client, &kind_user, str_from(version), &ops, g);
    return api;
}

static void test_watch_kind__resumes_from_the_last_version(void **state)
{
    Got g;
    FakeApi *api = follow_users(&g, "7");

    add_event(api, 1, "u1", "alice", "8");
    PUMP_UNTIL(api->loop, g.events == 1);
    assert_string_equal(api->after_version, "7");
    assert_int_equal(g.type, CLIENT_EVENT_CREATED);
    assert_string_equal(g.name, "alice");
    assert_string_equal(g.id, "u1");
    add_event(api, 0, "", NULL, NULL); /* a heartbeat */
    add_event(api, 3, "u2", NULL, "9");
    fake_api_wake(api);
    PUMP_UNTIL(api->loop, g.events == 2);
    assert_int_equal(g.type, CLIENT_EVENT_DELETED);
    assert_string_equal(g.version, "9");
    api->n_events = 0;
    fake_api_end_stream(api, GRPC_UNAVAILABLE);
    PUMP_UNTIL(api->loop, g.opened == 2);
    assert_string_equal(api->after_version, "9");
    assert_int_equal(g.relisted, 0);
    done(&g);
}

static void test_watch_kind__a_version_that_is_too_old_means_relist(void **state)
{
    Got g;
    FakeApi *api = follow_users(&g, "7");

    api->refuse = GRPC_FAILED_PRECONDITION;
    PUMP_UNTIL(api->loop, g.broken == 1);
    api->refuse = GRPC_OK;
    PUMP_UNTIL(api->loop, g.relisted == 1);
    assert_string_equal(api->after_version, ""); /* subscribed first, from now on */
    assert_int_equal(g.opened, 1);
    done(&g);
}

static void test_watch_kind__servers_without_versions_mean_relist_after_a_break(void **state)
{
    Got g;
    FakeApi *api = follow_users(&g, "");

    add_event(api, 2, "u1", "alice", NULL);
    PUMP_UNTIL(api->loop, g.events == 1);
    assert_string_equal(g.version, "");
    assert_int_equal(g.relisted, 0);
    fake_api_end_stream(api, GRPC_OK);
    PUMP_UNTIL(api->loop, g.relisted == 1);
    done(&g);
}

static void test_watch_kind__events_that_make_no_sense_break_the_stream(void **state)
{
    static const Str bad[] = {STR("\xff\xff\xff"), STR("\x08\x01\x1a\x02u1") /* no object */,
                              STR("\x08\x02\x12\x03\xff\xff\xff")};
    Got g;
    FakeApi *api = follow_users(&g, "");

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        unsigned before = g.broken;
        PUMP_UNTIL(api->loop, api->stream);
        buf_init(&api->events[0], 64);
        buf_adds(&api->events[0], bad[i]);
        api->n_events = 1;
        fake_api_wake(api);
        PUMP_UNTIL(api->loop, g.broken == before + 1);
        assert_int_equal(g.code, ERR_MALFORMED);
        buf_done(&api->events[0]);
        api->n_events = 0;
    }
    assert_int_equal(g.events, 0);
    assert_int_equal(g.ended, 0);
    done(&g);
}

int run_watch_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch__goes_on_from_the_last_message_after_a_break),
        cmocka_unit_test(test_watch__begins_behind_the_given_message),
        cmocka_unit_test(test_watch__a_token_that_was_rotated_is_used_at_the_next_opening),
        cmocka_unit_test(test_watch__a_session_that_is_not_there_ends_it),
        cmocka_unit_test(test_watch__refusals_are_tried_again),
        cmocka_unit_test(test_watch__survives_a_server_that_goes_and_comes),
        cmocka_unit_test(test_watch__freed_inside_a_message_it_stays_silent),
        cmocka_unit_test(test_watch__client_freed_inside_a_message),
        cmocka_unit_test(test_watch_kind__resumes_from_the_last_version),
        cmocka_unit_test(test_watch_kind__a_version_that_is_too_old_means_relist),
        cmocka_unit_test(test_watch_kind__servers_without_versions_mean_relist_after_a_break),
        cmocka_unit_test(test_watch_kind__events_that_make_no_sense_break_the_stream),
    };
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
