#include "base/ksuid.h"

#include <string.h>
#include "base/map.h"
#include "ksuid-internal.h"
#include "test-internal.h"

/* The example in the format's description, and both ends. */
static void test_ksuid__text_of_known_bytes(void **state)
{
    static const struct {
        uint8_t raw[KSUID_RAW_LEN];
        const char *text;
    } cases[] = {
        {{0x06, 0x69, 0xf7, 0xef, 0xb5, 0xa1, 0xcd, 0x34, 0xb5, 0xf9,
          0x9d, 0x11, 0x54, 0xfb, 0x68, 0x53, 0x34, 0x5c, 0x97, 0x35},
         "0ujtsYcgvSTl8PAuAdqWYSMnLOv"},
        {{0}, "000000000000000000000000000"},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
         "aWgEPTl1tmebfsQzFP4bxwgy80V"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char id[KSUID_LEN + 1];
        ksuid_encode(id, cases[i].raw);
        assert_string_equal(id, cases[i].text);
    }
}

static void test_ksuid__sorts_by_second(void **state)
{
    char last[KSUID_LEN + 1] = "000000000000000000000000000";
    for (int64_t sec = 1400000001; sec < 5600000000; sec += 12345678) {
        char id[KSUID_LEN + 1];
        ksuid_new(id, (WallUsec){sec * 1000000});
        assert_true(ksuid_is_valid(str_from(id)));
        if (strcmp(last, id) >= 0)
            fail_msg("%s is not behind %s", id, last);
        memcpy(last, id, sizeof(id));
    }
}

static void test_ksuid__times_outside_are_clamped(void **state)
{
    char id[KSUID_LEN + 1];
    ksuid_new(id, (WallUsec){-5});
    assert_true(ksuid_is_valid(str_from(id)));
    assert_memory_equal(id, "00000", 5); /* 2^128 needs 22 digits */
    ksuid_new(id, (WallUsec){INT64_MAX});
    assert_true(ksuid_is_valid(str_from(id)));
    assert_memory_equal(id, "aWgEP", 5);
}

static void test_ksuid__does_not_repeat(void **state)
{
    CLEANUP(map_freep) Map *seen = map_new();
    for (int i = 0; i < 20000; i++) {
        char id[KSUID_LEN + 1];
        ksuid_new(id, (WallUsec){1775001600000000});
        assert_null(map_put(seen, str_from(id), seen));
    }
}

static void test_ksuid__validity(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"0ujtsYcgvSTl8PAuAdqWYSMnLOv", true},
        {"000000000000000000000000000", true},
        {"aWgEPTl1tmebfsQzFP4bxwgy80V", true},
        {"aWgEPTl1tmebfsQzFP4bxwgy80W", false},
        {"zzzzzzzzzzzzzzzzzzzzzzzzzzz", false},
        {"0ujtsYcgvSTl8PAuAdqWYSMnLO", false},
        {"0ujtsYcgvSTl8PAuAdqWYSMnLOvv", false},
        {"0ujtsYcgvSTl8PAuAdqWYSMnLO-", false},
        {"", false},
        {"0ujtsYcgvSTl8PAuAdqWYSMnL \n", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (ksuid_is_valid(str_from(cases[i].text)) != cases[i].valid)
            fail_msg("%s", cases[i].text);
}

int run_ksuid_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ksuid__text_of_known_bytes),
        cmocka_unit_test(test_ksuid__sorts_by_second),
        cmocka_unit_test(test_ksuid__times_outside_are_clamped),
        cmocka_unit_test(test_ksuid__does_not_repeat),
        cmocka_unit_test(test_ksuid__validity),
    };
    return cmocka_run_group_tests_name("base-ksuid", tests, NULL, NULL);
}
