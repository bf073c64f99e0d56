#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "kube/watch.h"
#include "test-internal.h"

#define OBJECT(n, v)                                                                                         \
    "{\"metadata\":{\"name\":\"" n "\",\"namespace\":\"p\",\"uid\":\"u-" n "\",\"resourceVersion\":\"" v     \
    "\"}}"
#define LIST(v, items) "{\"metadata\":{\"resourceVersion\":\"" v "\"},\"items\":[" items "]}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define LIST_PODS "GET /api/v1/pods?limit=500"
#define WATCH_FROM(v) "GET /api/v1/pods?resourceVersion=" v "&watch=true"

typedef struct Seen {
    TestApi api;
    KubeWatch *watch;
    Buf said; /* +a added, -a gone, ! list */
    const char *until;
    bool done, free_at_end;
} Seen;

static void say(Seen *s, const char *what, const char *name)
{
    buf_addf(&s->said, "%s%s ", what, name);
    if (!s->until || strcmp(s->said.data, s->until) != 0)
        return;
    s->done = true;
    if (s->free_at_end)
        s->watch = kube_watch_free(s->watch);
}

static void on_object(void *arg, json_t *object)
{
    say(arg, "+", kube_name(object));
}

static void on_gone(void *arg, const char *ns, const char *name, const char *uid, json_t *last)
{
    assert_string_equal(ns, "p");
    assert_int_equal(strncmp(uid, "u-", 2), 0);
    say(arg, "-", name);
}

static void on_list(void *arg)
{
    say(arg, "!", "");
}

static const KubeWatchOps ops = {on_object, on_gone, on_list, NULL};

static void run(const Answer *answers, size_t n, const char *until, bool free_at_end)
{
    Seen s = {.said = BUF_INIT(4096), .until = until, .free_at_end = free_at_end};
    test_api_init(&s.api, answers, n, NULL);
    s.watch = kube_watch_new(s.api.kube, KUBE_REQUEST(.kind = KUBE_PODS), &ops, &s);
    Timer *timer = NULL;
    test_wait(&s.api, &s.done);
    while (s.api.n_requests < n)
        loop_run_once(s.api.loop, true);
    kube_watch_free(s.watch);
    timer_free(timer);
    test_api_done(&s.api);
    buf_done(&s.said);
}

static void test_watch__list_then_events(void **state)
{
    static const Answer answers[] = {
        SAY(LIST_PODS, 200, LIST("5", OBJECT("a", "1"))),
        SAY(WATCH_FROM("5"), 200,
            EVENT("ADDED", OBJECT("b", "6")) "|" EVENT("MODIFIED", OBJECT("a", "7")) EVENT(
                "BOOKMARK", OBJECT("", "8")) "|{\"type\":\"DELE|TED\",\"object\":" OBJECT("b", "9") "}\n|",
            .stream = true),
    };
    run(answers, 2, "+a ! +b +a -b ", false);
}

static void test_watch__goes_on_where_it_was(void **state)
{
    static const Answer answers[] = {
        SAY(LIST_PODS, 200, LIST("5", "")),
        SAY(WATCH_FROM("5"), 200, EVENT("ADDED", OBJECT("b", "6")), .stream = true),
        SAY(WATCH_FROM("6"), 200, EVENT("BOOKMARK", OBJECT("", "8")), .stream = true),
        SAY(WATCH_FROM("8"), 200, EVENT("ADDED", OBJECT("c", "9")) "|", .stream = true),
    };
    run(answers, 4, "! +b +c ", false);
}

static void test_watch__an_old_version_makes_a_new_list(void **state)
{
    static const Answer answers[] = {
        SAY(LIST_PODS, 200, LIST("5", OBJECT("a", "1") "," OBJECT("b", "2"))),
        SAY(WATCH_FROM("5"), 200,
            EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}") "|", .stream = true),
        /* a went meanwhile, b is as it was, c is new */
        SAY(LIST_PODS, 200, LIST("9", OBJECT("b", "2") "," OBJECT("c", "8"))),
        SAY(WATCH_FROM("9"), 410, "{\"reason\":\"Expired\"}"),
        SAY(LIST_PODS, 200, LIST("10", OBJECT("b", "2") "," OBJECT("c", "8"))),
        SAY(WATCH_FROM("10"), 200, "|", .stream = true),
    };
    run(answers, 6, "+a +b ! +c -a ! ! ", false);
}

static void test_watch__what_is_no_event_makes_a_new_list(void **state)
{
    static const Answer answers[] = {
        SAY(LIST_PODS, 200, LIST("5", "")),
        SAY(WATCH_FROM("5"), 200, "{\"type\":7}\n|", .stream = true),
        SAY(LIST_PODS, 200, LIST("6", "")),
        SAY(WATCH_FROM("6"), 200, "|", .stream = true),
    };
    run(answers, 4, "! ! ", false);
}

static void test_watch__is_freed_in_its_callback(void **state)
{
    static const Answer answers[] = {
        SAY(LIST_PODS, 200, LIST("5", OBJECT("a", "1"))),
        SAY(WATCH_FROM("5"), 200, EVENT("ADDED", OBJECT("b", "6")) EVENT("ADDED", OBJECT("c", "6")) "|",
            .stream = true),
    };
    run(answers, 2, "+a ! +b ", true);
    static const Answer in_list[] = {SAY(LIST_PODS, 200, LIST("5", OBJECT("a", "1") "," OBJECT("b", "1")))};
    run(in_list, 1, "+a ", true);
}

static void test_watch__a_list_that_fails_is_tried_again(void **state)
{
    static const Answer answers[] = {
        SAY(LIST_PODS, 500, "{}"),
        SAY(LIST_PODS, 200, LIST("5", OBJECT("a", "1"))),
        SAY(WATCH_FROM("5"), 200, "|", .stream = true),
    };
    run(answers, 3, "+a ! ", false);
}

int run_watch_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch__list_then_events),
        cmocka_unit_test(test_watch__goes_on_where_it_was),
        cmocka_unit_test(test_watch__an_old_version_makes_a_new_list),
        cmocka_unit_test(test_watch__what_is_no_event_makes_a_new_list),
        cmocka_unit_test(test_watch__is_freed_in_its_callback),
        cmocka_unit_test(test_watch__a_list_that_fails_is_tried_again),
    };
    return cmocka_run_group_tests_name("kube-watch", tests, NULL, NULL);
}
