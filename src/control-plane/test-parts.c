/* The small pure parts: conditions, prompts, strays. */
#include "test-internal.h"

#include <string.h>
#include <stdlib.h>
#include "base/file.h"
#include "base/mem.h"
#include "ca-bundle.h"
#include "conditions.h"
#include "oidc.h"
#include "prompt.h"
#include "strays.h"

/* ---- conditions ---- */

static const WallUsec t1 = {1700000000000000}, t2 = {1700000060000000};

static void check_conditions(const Conditions *c, const char *want)
{
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    conditions_write(c, &b);
    assert_string_equal(b.data, want);
}

static void test_conditions__time_changes_with_the_status_only(void **state)
{
    CLEANUP_CONDITIONS Conditions c;
    conditions_init(&c, STR_NULL, t1);
    conditions_set(&c, "Ready", false, "Starting", NULL);
    assert_true(c.changed);
    const char *first = "[{\"type\":\"Ready\",\"status\":\"False\",\"reason\":\"Starting\",\"message\":\"\","
                        "\"lastTransitionTime\":\"2023-11-14T22:13:20Z\"}]";
    check_conditions(&c, first);

    CLEANUP_CONDITIONS Conditions d;
    conditions_init(&d, str_from(first), t2);
    conditions_set(&d, "Ready", false, "Starting", NULL);
    assert_false(d.changed);
    check_conditions(&d, first);
    conditions_set(&d, "Ready", false, "ProcessExited", "exit code 3");
    assert_true(d.changed);
    check_conditions(&d, "[{\"type\":\"Ready\",\"status\":\"False\",\"reason\":\"ProcessExited\","
                         "\"message\":\"exit code 3\",\"lastTransitionTime\":\"2023-11-14T22:13:20Z\"}]");
    conditions_set(&d, "Ready", true, "Up", NULL);
    check_conditions(&d, "[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"Up\",\"message\":\"\","
                         "\"lastTransitionTime\":\"2023-11-14T22:14:20Z\"}]");
}

static void test_conditions__text_that_is_no_list_counts_as_empty(void **state)
{
    static const char *const texts[] = {
        "", "{", "null", "{}", "[1]", "[{\"status\":\"True\"}]", "[{\"type\":3}]"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        CLEANUP_CONDITIONS Conditions c;
        conditions_init(&c, str_from(texts[i]), t1);
        check_conditions(&c, "[]");
    }
}

static void test_conditions__those_of_others_stay(void **state)
{
    const char *other = "[{\"type\":\"Theirs\",\"status\":\"Unknown\"}]";
    CLEANUP_CONDITIONS Conditions c;
    conditions_init(&c, str_from(other), t1);
    assert_true(conditions_has(&c, "Theirs"));
    assert_false(conditions_has(&c, "Ready"));
    check_conditions(&c, other);
}

/* ---- prompts ---- */

static void test_prompt__parts_are_joined_once(void **state)
{
    static const struct {
        const char *a, *b, *c, *want;
    } cases[] = {
        {"", "", "", ""},
        {"p", "", "", "p"},
        {"", "", "s", "s"},
        {"p", "a", "s", "p\n\na\n\ns"},
        {"p", "", "s", "p\n\ns"},
        {"p", "same", "same", "p\n\nsame"},
        {"same", "", "same", "same"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const Str parts[] = {str_from(cases[i].a), str_from(cases[i].b), str_from(cases[i].c)};
        CLEANUP_BUF Buf b = BUF_INIT(100);
        prompt_join(parts, 3, &b);
        assert_true(str_eqz(buf_str(&b), cases[i].want));
    }
}

/* ---- tokens of an identity provider ---- */

#define NOW 1800000000LL

static void test_oidc__how_long_a_token_may_be_used(void **state)
{
    /* The middle parts: {"exp":1800000120}, {"exp":1799999999}, {"exp":"soon"}, no JSON. */
    static const struct {
        const char *answer;
        Usec seconds;
    } cases[] = {
        {"{\"access_token\":\"t\",\"expires_in\":300}", 300},
        {"{\"access_token\":\"h.eyJleHAiOjE4MDAwMDAxMjB9.s\",\"expires_in\":300}", 300},
        {"{\"access_token\":\"h.eyJleHAiOjE4MDAwMDAxMjB9.s\"}", 120},
        {"{\"access_token\":\"h.eyJleHAiOjE3OTk5OTk5OTl9.s\"}", 60},
        {"{\"access_token\":\"h.eyJleHAiOiJzb29uIn0.s\"}", 60},
        {"{\"access_token\":\"h.bm8.s\",\"expires_in\":-1}", 60},
        {"{\"access_token\":\"..\"}", 60},
        {"{\"access_token\":\"opaque\"}", 60},
        {"{\"access_token\":\"t\",\"expires_in\":9223372036854775807}", 86400},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_JSON json_t *answer = NULL;
        assert_int_equal(json_parse(str_from(cases[i].answer), &answer, NULL), 0);
        Usec life = oidc_life(answer, (WallUsec){NOW * (int64_t)USEC_PER_SEC});
        if (life != cases[i].seconds * USEC_PER_SEC)
            fail_msg("%s may be used for %llu us", cases[i].answer, (unsigned long long)life);
    }
}

/* ---- roots for TLS ---- */

static void test_ca_bundle__has_both(void **state)
{
    char dir[] = "/tmp/ca-bundle-XXXXXX";
    assert_non_null(mkdtemp(dir));
    CLEANUP_FREE char *roots = path_join(dir, "roots"), *extra = path_join(dir, "extra"), *made = NULL;
    CLEANUP_BUF Buf text = BUF_INIT(1024);
    assert_int_equal(ca_bundle_make(roots, extra, &made, NULL), 0);
    assert_null(made); /* nothing to add: the system's own */
    assert_int_equal(file_write_atomic(extra, STR("service\n"), 0600, NULL), 0);
    assert_int_equal(ca_bundle_make(roots, extra, &made, NULL), 0);
    assert_int_equal(file_read(made, &text, NULL), 0);
    assert_string_equal(text.data, "\nservice\n");
    free(made);
    assert_int_equal(file_write_atomic(roots, STR("public"), 0600, NULL), 0);
    assert_int_equal(ca_bundle_make(roots, extra, &made, NULL), 0);
    for (int i = 0; i < 2; i++) { /* each who opens it reads it whole */
        buf_clear(&text);
        assert_int_equal(file_read(made, &text, NULL), 0);
        assert_string_equal(text.data, "public\nservice\n");
    }
    assert_int_equal(remove(roots) + remove(extra) + remove(dir), 0);
}

/* ---- strays ---- */

typedef struct Rig {
    FakeClock clock;
    Strays *s;
} Rig;

static void rig_init(Rig *r)
{
    fake_clock_init(&r->clock, t2);
    r->s = strays_new(&r->clock.clock, 0, 0);
}

static void rig_done(Rig *r)
{
    strays_free(r->s);
}
#define CLEANUP_RIG CLEANUP(rig_done)

static bool add_round(Rig *r, unsigned from, unsigned to, size_t existing)
{
    strays_round_begin(r->s);
    for (unsigned i = from; i < to; i++) {
        char id[16];
        snprintf(id, sizeof(id), "s%u", i);
        strays_round_add(r->s, str_from(id), (WallUsec){1});
    }
    return strays_round_end(r->s, existing);
}

static void test_strays__two_answers_a_minute_apart_and_a_list_between(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    Usec wait = 0;
    assert_int_equal(strays_gone(r.s, STR("s0"), 1, &wait), STRAY_KEEP);
    assert_true(add_round(&r, 0, 1, 5));
    assert_int_equal(strays_gone(r.s, STR("s0"), 1, &wait), STRAY_WAIT);
    assert_int_equal(wait, STRAYS_CONFIRM);
    fake_clock_advance(&r.clock, STRAYS_CONFIRM - 1);
    assert_int_equal(strays_gone(r.s, STR("s0"), 2, &wait), STRAY_WAIT);
    assert_int_equal(wait, 1);
    fake_clock_advance(&r.clock, 1);
    assert_int_equal(strays_gone(r.s, STR("s0"), 1, &wait), STRAY_RELIST);
    assert_int_equal(strays_gone(r.s, STR("s0"), 2, &wait), STRAY_REMOVE);
}

static void test_strays__one_that_is_seen_again_starts_afresh(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    Usec wait;
    add_round(&r, 0, 1, 5);
    strays_gone(r.s, STR("s0"), 1, &wait);
    fake_clock_advance(&r.clock, STRAYS_CONFIRM);
    add_round(&r, 0, 0, 5); /* known again */
    add_round(&r, 0, 1, 5);
    assert_int_equal(strays_gone(r.s, STR("s0"), 9, &wait), STRAY_WAIT);
}

static void test_strays__the_brake_holds_until_three_rounds_agree(void **state)
{
    static const struct {
        unsigned missing;
        size_t existing;
        bool free;
    } cases[] = {{10, 10, true}, {11, 11, false}, {11, 54, false},
                 {11, 55, true}, {20, 100, true}, {21, 100, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_RIG Rig r;
        rig_init(&r);
        assert_int_equal(add_round(&r, 0, cases[i].missing, cases[i].existing), cases[i].free);
    }
    CLEANUP_RIG Rig r;
    rig_init(&r);
    assert_false(add_round(&r, 0, 30, 30));
    assert_false(add_round(&r, 0, 30, 30));
    assert_false(add_round(&r, 1, 31, 30)); /* others: counted from one again */
    assert_false(add_round(&r, 1, 31, 30));
    assert_true(add_round(&r, 1, 31, 30));
    assert_false(strays_braked(r.s));
    /* What was let go is let go, also when it becomes less round by round. */
    assert_true(add_round(&r, 5, 31, 30));
}

static void test_strays__the_young_are_spared(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    Usec wait;
    strays_round_begin(r.s);
    strays_round_add(r.s, STR("young"), (WallUsec){t2.us - (int64_t)STRAYS_YOUNG + 1});
    strays_round_end(r.s, 1);
    assert_int_equal(strays_count(r.s), 0);
    assert_int_equal(strays_gone(r.s, STR("young"), 5, &wait), STRAY_KEEP);
}

int run_parts_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions__time_changes_with_the_status_only),
        cmocka_unit_test(test_conditions__text_that_is_no_list_counts_as_empty),
        cmocka_unit_test(test_conditions__those_of_others_stay),
        cmocka_unit_test(test_prompt__parts_are_joined_once),
        cmocka_unit_test(test_oidc__how_long_a_token_may_be_used),
        cmocka_unit_test(test_ca_bundle__has_both),
        cmocka_unit_test(test_strays__two_answers_a_minute_apart_and_a_list_between),
        cmocka_unit_test(test_strays__one_that_is_seen_again_starts_afresh),
        cmocka_unit_test(test_strays__the_brake_holds_until_three_rounds_agree),
        cmocka_unit_test(test_strays__the_young_are_spared),
    };
    return cmocka_run_group_tests_name("parts", tests, NULL, NULL);
}
