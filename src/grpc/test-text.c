#include "test-internal.h"

#include "text-internal.h"

static void test_timeout__table(void **state)
{
    static const struct {
        const char *text;
        Usec want;
    } rows[] = {
        {"1n", 1},
        {"1000n", 1},
        {"1001n", 2},
        {"0n", 0},
        {"5u", 5},
        {"100m", 100 * USEC_PER_MSEC},
        {"1799999m", 1799999 * USEC_PER_MSEC},
        {"1S", USEC_PER_SEC},
        {"99999999S", 99999999 * USEC_PER_SEC},
        {"2M", 120 * USEC_PER_SEC},
        {"1H", 3600 * USEC_PER_SEC},
        {"2562047H", UINT64_C(2562047) * 3600 * USEC_PER_SEC},
        {"2562048H", USEC_NEVER}, /* beyond int64 nanoseconds */
        {"99999999H", USEC_NEVER},
    };
    static const char *const bad[] = {"",     "1",   "S",   "1s",         "-1S", "+1S",
                                      "1.5S", " 1S", "1S ", "123456789S", "1SS", "1h"};
    Usec got;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(grpc_timeout_parse(str_from(rows[i].text), &got), 0);
        assert_int_equal(got, rows[i].want);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(grpc_timeout_parse(str_from(bad[i]), &got), -1);
}

static void test_timeout__formatted_is_never_shorter_and_parses(void **state)
{
    char text[GRPC_TIMEOUT_TEXT_MAX];
    Usec got;
    for (Usec t = 0; t < USEC_NEVER / 7; t = t * 7 + 3) {
        grpc_timeout_format(t, text);
        assert_true(strlen(text) <= 9);
        assert_int_equal(grpc_timeout_parse(str_from(text), &got), 0);
        assert_true(got >= t);
        assert_true(got == USEC_NEVER || got - t <= t / 1000000 + 3600 * USEC_PER_SEC);
    }
    grpc_timeout_format(5 * USEC_PER_SEC, text);
    assert_string_equal(text, "5000000u");
}

static void test_content_type__table(void **state)
{
    static const struct {
        const char *text, *echo; /* NULL: refused */
    } rows[] = {
        {"application/grpc", "application/grpc"},
        {"application/grpc+proto", "application/grpc+proto"},
        {"application/grpc; charset=utf-8", "application/grpc"},
        {"application/grpc+proto;x=y", "application/grpc+proto"},
        {"application/grpc+json", NULL},
        {"application/grpc-web", NULL},
        {"application/grpcx", NULL},
        {"application/json", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *echo = NULL;
        bool ok = grpc_content_type_ok(str_from(rows[i].text), &echo);
        assert_int_equal(ok, rows[i].echo != NULL);
        if (ok)
            assert_string_equal(echo, rows[i].echo);
    }
}

static void assert_encoded(Str text, const char *want)
{
    CLEANUP_BUF Buf b = BUF_INIT(8192);
    grpc_percent_encode(text, &b);
    assert_string_equal(buf_str(&b).ptr, want);
}

static void test_percent__encoding(void **state)
{
    assert_encoded(STR("plain text ~"), "plain text ~");
    assert_encoded(STR("100%"), "100%25");
    assert_encoded(STR("a\tb\r\nc\x7f"), "a%09b%0D%0Ac%7F");
    assert_encoded(STR("\xe2\x98\xba"), "%E2%98%BA");
    assert_encoded(STR("\xf0\x9f\x98\x88"), "%F0%9F%98%88");
    assert_encoded((Str){"\0", 1}, "%00");
    assert_encoded(STR("x\xffy"), "x%EF%BF%BDy");
    assert_encoded(STR("\xe2\x98"), "%EF%BF%BD%EF%BF%BD");              /* cut off */
    assert_encoded(STR("\xed\xa0\x80"), "%EF%BF%BD%EF%BF%BD%EF%BF%BD"); /* a surrogate */
}

static void test_percent__long_text_is_cut_at_a_character(void **state)
{
    CLEANUP_BUF Buf text = BUF_INIT(8192), out = BUF_INIT(8192), back = BUF_INIT(8192);
    buf_addc(&text, 'a');
    while (text.len < 3000)
        buf_adds(&text, STR("\xc3\xa9"));
    grpc_percent_encode(buf_str(&text), &out);
    grpc_percent_decode(buf_str(&out), &back);
    assert_int_equal(back.len, 1023);
    assert_true(str_is_utf8(buf_str(&back)));
}

static void test_percent__round_trip_of_every_byte_pair(void **state)
{
    for (unsigned i = 0; i < 0x80 * 0x80; i++) {
        char in[2] = {(char)(i % 0x80), (char)(i / 0x80)};
        CLEANUP_BUF Buf out = BUF_INIT(64), back = BUF_INIT(64);
        grpc_percent_encode((Str){in, 2}, &out);
        grpc_percent_decode(buf_str(&out), &back);
        assert_true(str_eq(buf_str(&back), (Str){in, 2}));
    }
}

static void test_percent__decoding_is_lenient(void **state)
{
    CLEANUP_BUF Buf b = BUF_INIT(64);
    grpc_percent_decode(STR("%zz%4%e2%98%BA%"), &b);
    assert_string_equal(b.data, "%zz%4\xe2\x98\xba%");
}

static void test_base64__table(void **state)
{
    static const struct {
        const char *text, *want; /* NULL: refused */
    } rows[] = {
        {"", ""},        {"Zg==", "f"},   {"Zg", "f"},        {"Zm8=", "fo"},
        {"Zm8", "fo"},   {"Zm9v", "foo"}, {"Zm9vYg", "foob"}, {"+/+/", "\xfb\xff\xbf"},
        {"Z", NULL},     {"Zg=", NULL},   {"Z===", NULL},     {"Zm9v!", NULL},
        {"Zm 9v", NULL}, {"-_-_", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP_BUF Buf b = BUF_INIT(64);
        assert_int_equal(grpc_base64_decode(str_from(rows[i].text), &b), rows[i].want ? 0 : -1);
        if (rows[i].want)
            assert_true(str_eqz(buf_str(&b), rows[i].want));
    }
}

int run_text_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timeout__table),
        cmocka_unit_test(test_timeout__formatted_is_never_shorter_and_parses),
        cmocka_unit_test(test_content_type__table),
        cmocka_unit_test(test_percent__encoding),
        cmocka_unit_test(test_percent__long_text_is_cut_at_a_character),
        cmocka_unit_test(test_percent__round_trip_of_every_byte_pair),
        cmocka_unit_test(test_percent__decoding_is_lenient),
        cmocka_unit_test(test_base64__table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
