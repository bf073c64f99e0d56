#include "test-internal.h"

#include <stdio.h>
#include "tap.h"

/* A reader that remembers what it got, as the ids of events, and can be slow. */
typedef struct Sink {
    TapReader *reader;
    Buf got;
    unsigned room; /* writes that may still come */
    bool ended;
} Sink;

static bool sink_writable(void *arg)
{
    return ((Sink *)arg)->room > 0;
}

static void sink_write(void *arg, Str bytes)
{
    Sink *s = arg;

    assert_true(s->room > 0);
    s->room--;
    if (bytes.ptr[0] == ':') {
        buf_addc(&s->got, ':');
        return;
    }
    assert_true(str_starts(bytes, STR("id: ")));
    assert_true(str_ends(bytes, STR("}\n\n")));
    Str rest = str_slice(bytes, 4, bytes.len);
    Str id = str_cut(&rest, '\n');
    assert_true(str_starts(rest, STR("data: {")));
    buf_addf(&s->got, "%s" STR_FMT, s->got.len ? " " : "", STR_ARG(id));
}

static void sink_end(void *arg)
{
    ((Sink *)arg)->ended = true;
}

static const TapSink ops = {sink_writable, sink_write, sink_end};
static Loop *loop;
static Tap *tap;

static int setup(void **state)
{
    assert_int_equal(loop_new(&loop, NULL), 0);
    tap = tap_new(loop, TAP_RING_BYTES, TAP_HEARTBEAT);
    return 0;
}

static int teardown(void **state)
{
    tap_free(tap);
    loop_free(loop);
    return 0;
}

static void attach(Sink *s, TapOptions o)
{
    *s = (Sink){.room = 1000};
    buf_init(&s->got, 1 << 16);
    buf_addz(&s->got, "");
    s->reader = tap_attach(tap, &ops, s, &o);
    tap_resume(s->reader);
}

#define assert_got(s, want) assert_string_equal(buf_str(&(s)->got).ptr, want)

/* Events in short: ( run begins, ) it ends, ! it fails, T t . text opens, goes on, closes, M a snapshot. */
static void say(const char *events, const char *run)
{
    static const struct {
        char c;
        AguiType type;
        const char *key;
    } map[] = {
        {'(', AGUI_RUN_STARTED, ""},
        {')', AGUI_RUN_FINISHED, ""},
        {'!', AGUI_RUN_ERROR, ""},
        {'T', AGUI_TEXT_MESSAGE_START, "m"},
        {'t', AGUI_TEXT_MESSAGE_CONTENT, "m"},
        {'.', AGUI_TEXT_MESSAGE_END, "m"},
        {'M', AGUI_MESSAGES_SNAPSHOT, ""},
        {'X', AGUI_CUSTOM, ""},
    };
    for (; *events; events++)
        for (size_t i = 0; i < ARRAY_LEN(map); i++)
            if (map[i].c == *events)
                tap_event(tap, &(AguiEvent){map[i].type, STR("{}"), str_from(map[i].key)}, run);
}

static void test_tap__every_viewer_sees_everything(void **state)
{
    Sink a, b;

    attach(&a, (TapOptions){0});
    attach(&b, (TapOptions){0});
    assert_int_equal(tap_readers(tap), 2);
    say("(Tt.)", "r1");
    assert_got(&a, "1 2 3 4 5");
    assert_got(&b, "1 2 3 4 5");
    assert_true(a.ended && b.ended);
    assert_int_equal(tap_readers(tap), 0);
    buf_done(&a.got);
    buf_done(&b.got);
}

static void test_tap__who_comes_late_sees_the_run_from_its_start(void **state)
{
    Sink s;

    say("(Tt.)", "r1");
    say("(Tt", "r2");
    attach(&s, (TapOptions){0});
    assert_got(&s, "6 7 8");
    say("t.!", "r2");
    assert_got(&s, "6 7 8 9 10 11");
    assert_true(s.ended);
    buf_done(&s.got);
}

static void test_tap__between_runs_it_waits_for_the_next(void **state)
{
    Sink s;

    say("(Tt.)", "r1");
    attach(&s, (TapOptions){0});
    assert_got(&s, "");
    say("()", "r2");
    assert_got(&s, "6 7");
    assert_true(s.ended);
    buf_done(&s.got);
}

static void test_tap__goes_on_behind_the_last_event_of_a_reader(void **state)
{
    static const struct {
        uint64_t after;
        const char *got;
    } cases[] = {
        {3, "4 5"}, /* the last run's end was missed */
        {5, ""},    /* it had everything: the next run */
        {99, ""},   /* of another life of this program */
    };
    Sink s;

    say("(Tt.)", "r1");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        attach(&s, (TapOptions){.after_id = cases[i].after});
        assert_got(&s, cases[i].got);
        tap_detach(s.reader);
        buf_done(&s.got);
    }
    say("(Tt", "r2");
    say(".)", "r2");
    say("(", "r3"); /* r1 is gone from the ring now */
    attach(&s, (TapOptions){.after_id = 2});
    assert_got(&s, "11");
    tap_detach(s.reader);
    buf_done(&s.got);
}

static void test_tap__follow_stays_across_runs(void **state)
{
    Sink s;

    attach(&s, (TapOptions){.follow = true});
    say("()", "r1");
    say("(X)", "r2");
    assert_got(&s, "1 2 3 4 5");
    assert_false(s.ended);
    tap_detach(s.reader);
    buf_done(&s.got);
}

static void test_tap__snapshots_are_for_those_who_ask(void **state)
{
    Sink a, b;

    attach(&a, (TapOptions){0});
    attach(&b, (TapOptions){.snapshots = true});
    say("(M)", "r1");
    assert_got(&a, "1 3");
    assert_got(&b, "1 2 3");
    buf_done(&a.got);
    buf_done(&b.got);
}

static void test_tap__a_reader_of_one_run_gets_that_one(void **state)
{
    Sink s;

    say("(T", "r1");
    attach(&s, (TapOptions){.run_id = "r2"});
    say("t.)", "r1");
    assert_got(&s, "");
    assert_false(s.ended);
    say("(X)", "r2");
    assert_got(&s, "6 7 8");
    assert_true(s.ended);
    buf_done(&s.got);
}

static void test_tap__a_slow_reader_delays_nobody_and_loses_nothing(void **state)
{
    Sink slow, fast;

    attach(&slow, (TapOptions){0});
    slow.room = 2;
    attach(&fast, (TapOptions){0});
    say("(Tttt.)", "r1");
    assert_got(&slow, "1 2");
    assert_true(fast.ended);
    for (int i = 0; i < 5; i++) {
        slow.room = 1;
        tap_resume(slow.reader);
    }
    assert_got(&slow, "1 2 3 4 5 6 7");
    assert_true(slow.ended);
    buf_done(&slow.got);
    buf_done(&fast.got);
}

static void test_tap__full_ring_ends_laggards_and_stays_consistent_for_the_rest(void **state)
{
    CLEANUP_BUF Buf json = BUF_INIT(1 << 12);
    Sink lag, live, late;

    tap_free(tap);
    tap = tap_new(loop, 4096, TAP_HEARTBEAT);
    buf_addf(&json, "{\"x\":\"%0200d\"}", 0);
    attach(&lag, (TapOptions){0});
    lag.room = 2;
    attach(&live, (TapOptions){0});
    say("(T", "r1");
    for (int i = 0; i < 50; i++)
        tap_event(tap, &(AguiEvent){AGUI_TEXT_MESSAGE_CONTENT, buf_str(&json), STR("m")}, "r1");
    assert_true(lag.ended); /* it would have missed events */
    assert_got(&lag, "1 2");
    assert_false(live.ended);
    /* Who comes now sees the run's start, and nothing of a message whose start is gone. */
    attach(&late, (TapOptions){0});
    assert_got(&late, "1");
    say(".X", "r1");
    tap_event(tap, &(AguiEvent){AGUI_TEXT_MESSAGE_START, STR("{}"), STR("m2")}, "r1");
    tap_event(tap, &(AguiEvent){AGUI_TEXT_MESSAGE_CONTENT, STR("{}"), STR("m2")}, "r1");
    assert_got(&late, "1 54 55 56");
    say(")", "r1");
    assert_true(late.ended && live.ended);
    buf_done(&lag.got);
    buf_done(&live.got);
    buf_done(&late.got);
}

static void test_tap__silence_is_filled_with_comments(void **state)
{
    Sink s, full;

    tap_free(tap);
    tap = tap_new(loop, TAP_RING_BYTES, 2 * USEC_PER_MSEC);
    attach(&s, (TapOptions){0});
    attach(&full, (TapOptions){0});
    full.room = 0;
    PUMP_UNTIL(loop, s.got.len >= 2);
    assert_got(&s, "::");
    assert_got(&full, "");
    tap_free(tap); /* ends its readers while their sinks are still there */
    tap = tap_new(loop, TAP_RING_BYTES, TAP_HEARTBEAT);
    buf_done(&s.got);
    buf_done(&full.got);
}

static void test_tap__ends_its_readers(void **state)
{
    Sink s;

    attach(&s, (TapOptions){.follow = true});
    tap = tap_free(tap);
    assert_true(s.ended);
    buf_done(&s.got);
}

int run_tap_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tap__every_viewer_sees_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tap__who_comes_late_sees_the_run_from_its_start, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_tap__between_runs_it_waits_for_the_next, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tap__goes_on_behind_the_last_event_of_a_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tap__follow_stays_across_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tap__snapshots_are_for_those_who_ask, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tap__a_reader_of_one_run_gets_that_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tap__a_slow_reader_delays_nobody_and_loses_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_tap__full_ring_ends_laggards_and_stays_consistent_for_the_rest,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_tap__silence_is_filled_with_comments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tap__ends_its_readers, setup, teardown),
    };
    return cmocka_run_group_tests_name("tap", tests, NULL, NULL);
}
