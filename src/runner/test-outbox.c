/* Records on their way to a server that fails, loses answers and dies. */
#include "test-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/file.h"
#include "outbox.h"

typedef enum Fate {
    FATE_OK,
    FATE_DOWN,
    FATE_LOST /* stored, but the answer got lost */,
    FATE_REFUSED,
    FATE_GONE
} Fate;

/* The server: a log, de-duplicated by request id. */
typedef struct Server {
    Loop *loop;
    Fate fates[16]; /* of the n-th push; then OK */
    size_t pushes;
    Buf log, ids;
    /* the push that runs */
    Timer *timer;
    ClientPushDone done;
    void *done_arg;
    Fate fate;
    bool running;
} Server;

typedef struct World {
    Server server;
    Outbox *outbox;
    char dir[32], journal[64];
    unsigned acked, drained, high, low, gone;
} World;

static void store(Server *s, const ClientPush *p)
{
    CLEANUP_FREE char *id = xasprintf("<" STR_FMT ">", STR_ARG(p->request_id));

    if (str_find(buf_str(&s->ids), str_from(id)) >= 0)
        return;
    buf_addz(&s->ids, id);
    buf_addf(&s->log, STR_FMT ":" STR_FMT " ", STR_ARG(p->event_type), STR_ARG(p->payload));
}

static void answer(void *arg)
{
    Server *s = arg;
    Err err = {0};

    s->running = false;
    if (s->fate == FATE_DOWN || s->fate == FATE_LOST)
        err_set(&err, ERR_UNAVAILABLE, "down");
    else if (s->fate == FATE_REFUSED)
        err_set(&err, ERR_INVALID, "no");
    else if (s->fate == FATE_GONE)
        err_set(&err, ERR_NOT_FOUND, "no such session");
    s->done(s->done_arg, 1, err.code ? &err : NULL);
}

static void *push(void *arg, const ClientPush *p, ClientPushDone done, void *done_arg)
{
    Server *s = arg;

    assert_false(s->running); /* one at a time */
    s->running = true;
    s->fate = s->pushes < ARRAY_LEN(s->fates) ? s->fates[s->pushes] : FATE_OK;
    s->pushes++;
    if (s->fate == FATE_OK || s->fate == FATE_LOST)
        store(s, p);
    s->done = done;
    s->done_arg = done_arg;
    timer_arm(s->timer, 0);
    return s;
}

static void cancel(void *arg, void *call)
{
    Server *s = arg;

    s->running = false;
    timer_cancel(s->timer);
}

static void on_acked(void *arg, Str request_id, uint64_t seq)
{
    ((World *)arg)->acked++;
}

static void on_drained(void *arg)
{
    ((World *)arg)->drained++;
}

static void on_pressure(void *arg, bool high)
{
    World *w = arg;
    if (high)
        w->high++;
    else
        w->low++;
}

static void on_gone(void *arg, const Err *err)
{
    ((World *)arg)->gone++;
}

static void open_outbox(World *w)
{
    static const OutboxOps ops = {on_acked, on_drained, on_pressure, on_gone};
    OutboxPush p = {push, cancel, &w->server};

    w->outbox = outbox_new(w->server.loop, &p, "s1", w->journal, &ops, w);
}

static int setup(void **state)
{
    World *w = xnew(World);

    assert_int_equal(loop_new(&w->server.loop, NULL), 0);
    w->server.timer = timer_new(w->server.loop, answer, &w->server);
    buf_init(&w->server.log, 64 << 20);
    buf_init(&w->server.ids, 1 << 20);
    snprintf(w->dir, sizeof(w->dir), "/tmp/test-runner-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->journal, sizeof(w->journal), "%s/journal", w->dir);
    open_outbox(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    World *w = *state;

    outbox_free(w->outbox);
    timer_free(w->server.timer);
    loop_free(w->server.loop);
    buf_done(&w->server.log);
    buf_done(&w->server.ids);
    assert_int_equal(dir_remove_tree(w->dir, NULL), 0);
    free(w);
    return 0;
}

static void add(World *w, const char *payload)
{
    outbox_add(w->outbox, "a", str_from(payload), "turn", "p");
}

#define assert_log(w, want) assert_string_equal(buf_str(&(w)->server.log).ptr, want)

static void test_outbox__in_order_once_whatever_the_server_does(void **state)
{
    static const Fate fates[][6] = {
        {FATE_OK},
        {FATE_DOWN, FATE_DOWN},
        {FATE_LOST},
        {FATE_OK, FATE_LOST, FATE_DOWN, FATE_LOST, FATE_OK, FATE_DOWN},
    };
    World *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(fates); i++) {
        memcpy(w->server.fates, fates[i], sizeof(fates[i]));
        w->server.pushes = 0;
        buf_clear(&w->server.log);
        w->acked = 0;
        add(w, "1");
        add(w, "2");
        add(w, "3");
        assert_int_equal(outbox_waiting(w->outbox), 3);
        PUMP_UNTIL(w->server.loop, w->acked == 3);
        assert_log(w, "a:1 a:2 a:3 ");
        assert_null(outbox_trouble(w->outbox));
    }
    assert_int_equal(outbox_bytes(w->outbox), 0);
    assert_true(w->drained >= ARRAY_LEN(fates));
}

static void test_outbox__what_the_server_never_takes_does_not_block_the_rest(void **state)
{
    World *w = *state;

    w->server.fates[1] = FATE_REFUSED;
    add(w, "1");
    add(w, "2");
    add(w, "3");
    PUMP_UNTIL(w->server.loop, w->drained == 1);
    assert_log(w, "a:1 a:3 ");
    assert_int_equal(w->acked, 2);
}

static void test_outbox__a_session_that_is_gone_ends_it(void **state)
{
    World *w = *state;

    w->server.fates[0] = FATE_GONE;
    add(w, "1");
    add(w, "2");
    PUMP_UNTIL(w->server.loop, w->gone == 1);
    add(w, "3");
    loop_run_once(w->server.loop, false);
    assert_int_equal(w->server.pushes, 1);
}

static void test_outbox__a_new_process_pushes_what_the_old_one_could_not(void **state)
{
    World *w = *state;

    w->server.fates[0] = FATE_LOST; /* stored, but the old process does not know */
    add(w, "1");
    add(w, "2 with \"quotes\" and \n a line");
    PUMP_UNTIL(w->server.loop, w->server.pushes == 1 && !w->server.running);
    assert_non_null(outbox_trouble(w->outbox));
    w->outbox = outbox_free(w->outbox); /* dies */
    open_outbox(w);
    assert_int_equal(outbox_waiting(w->outbox), 2);
    outbox_add(w->outbox, "a", STR("3"), "turn", "q"); /* another process, other ids */
    PUMP_UNTIL(w->server.loop, w->acked == 3);
    assert_log(w, "a:1 a:2 with \"quotes\" and \n a line a:3 ");
    w->outbox = outbox_free(w->outbox);
    open_outbox(w); /* nothing is left for a third */
    assert_int_equal(outbox_waiting(w->outbox), 0);
}

static void test_outbox__a_journal_that_was_cut_or_damaged_loses_that_line_only(void **state)
{
    World *w = *state;
    static const char text[] = "{\"type\":\"a\",\"turn\":\"\",\"request_id\":\"p-1\",\"payload\":\"1\"}\n"
                               "{\"type\":\"a\",\"turn\":broken}\n"
                               "{\"type\":\"a\",\"turn\":\"\",\"request_id\":\"p-3\",\"payload\":\"3\"}\n"
                               "{\"type\":\"a\",\"turn\":\"\",\"reque";

    w->outbox = outbox_free(w->outbox);
    assert_int_equal(file_write_atomic(w->journal, str_from(text), 0600, NULL), 0);
    open_outbox(w);
    assert_int_equal(outbox_waiting(w->outbox), 2);
    outbox_add(w->outbox, "a", STR("4"), "", "q");
    w->outbox = outbox_free(w->outbox); /* dies again: the cut line must not glue to the next */
    open_outbox(w);
    assert_int_equal(outbox_waiting(w->outbox), 3);
    PUMP_UNTIL(w->server.loop, w->drained == 1);
    assert_log(w, "a:1 a:3 a:4 ");
}

static void test_outbox__holds_the_agent_back_when_too_much_waits(void **state)
{
    World *w = *state;
    CLEANUP_BUF Buf big = BUF_INIT(2 << 20);

    while (big.len < 1 << 20)
        buf_addz(&big, "0123456789abcdef");
    for (size_t i = 0; i < ARRAY_LEN(w->server.fates); i++)
        w->server.fates[i] = i < 1 ? FATE_DOWN : FATE_OK;
    for (int i = 0; i < 17; i++)
        add(w, big.data);
    assert_int_equal(w->high, 1);
    assert_int_equal(w->low, 0);
    PUMP_UNTIL(w->server.loop, w->low == 1);
    assert_true(outbox_bytes(w->outbox) <= OUTBOX_HIGH / 2);
    PUMP_UNTIL(w->server.loop, w->drained == 1);
    assert_int_equal(w->high, 1);
}

static void test_outbox__without_a_journal_it_works_too(void **state)
{
    World *w = *state;

    w->outbox = outbox_free(w->outbox);
    snprintf(w->journal, sizeof(w->journal), "/nowhere/at/all");
    open_outbox(w);
    add(w, "1");
    PUMP_UNTIL(w->server.loop, w->acked == 1);
    assert_log(w, "a:1 ");
}

int run_outbox_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_outbox__in_order_once_whatever_the_server_does, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outbox__what_the_server_never_takes_does_not_block_the_rest,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_outbox__a_session_that_is_gone_ends_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outbox__a_new_process_pushes_what_the_old_one_could_not, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_outbox__a_journal_that_was_cut_or_damaged_loses_that_line_only,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_outbox__holds_the_agent_back_when_too_much_waits, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_outbox__without_a_journal_it_works_too, setup, teardown),
    };
    return cmocka_run_group_tests_name("outbox", tests, NULL, NULL);
}
