/* UTF-8 repair, lines, redaction, the ring of error lines, the transcript. */
#include "test-internal.h"

#include "line-reader.h"
#include "stderr-ring.h"
#include "transcript.h"
#include "utf8.h"
#include "uuid.h"

#define BAD "\xef\xbf\xbd"

static void test_utf8__whatever_comes_the_same_comes_out_however_it_is_cut(void **state)
{
    static const struct {
        Str in;
        const char *out;
    } cases[] = {
        {STR("plain"), "plain"},
        {STR("a\xc3\xa4z"), "a\xc3\xa4z"},
        {STR("\xe2\x82\xac\xf0\x9f\x98\x80"), "\xe2\x82\xac\xf0\x9f\x98\x80"},
        {STR("\xff"), BAD},
        {STR("a\xc3"), "a" BAD},
        {STR("\xe2\x82z"), BAD BAD "z"},
        {STR("\xc0\xaf"), BAD BAD},
        {STR("\xed\xa0\x80"), BAD BAD BAD},
        {STR("\xf4\x90\x80\x80"), BAD BAD BAD BAD},
        {STR("\xf0\x9f\x98"), BAD}, /* cut by the end */
        {{"a\0b", 3}, "a" BAD "b"},
        {STR("\x80\xc3\xa4"), BAD "\xc3\xa4"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t step = 1; step <= cases[i].in.len; step++) {
            Utf8Repair u = {0};
            CLEANUP_BUF Buf out = BUF_INIT(256);
            for (size_t at = 0; at < cases[i].in.len; at += step)
                utf8_repair(&u, str_slice(cases[i].in, at, at + step), &out);
            utf8_repair_end(&u, &out);
            assert_string_equal(out.data, cases[i].out);
        }
    }
}

static void test_utf8__cut_splits_no_character(void **state)
{
    Str s = STR("a\xe2\x82\xac\xc3\xa4");
    static const size_t want[] = {0, 1, 1, 1, 4, 4, 6, 6};

    for (size_t max = 0; max < ARRAY_LEN(want); max++)
        assert_int_equal(utf8_cut(s, max), want[max]);
    assert_int_equal(utf8_cut_chars(s, 0), 0);
    assert_int_equal(utf8_cut_chars(s, 2), 4);
    assert_int_equal(utf8_cut_chars(s, 9), 6);
}

static void add_line(void *arg, Str line)
{
    Buf *b = arg;

    buf_adds(b, line);
    buf_addc(b, '|');
}

static void test_line_reader__lines_however_they_are_cut(void **state)
{
    Str in = STR("one\ntwo\r\n\nthree long line\nlast");

    for (size_t step = 1; step <= in.len; step++) {
        CLEANUP_BUF Buf out = BUF_INIT(256);
        LineReader r;
        line_reader_init(&r, 8);
        for (size_t at = 0; at < in.len; at += step)
            line_reader_feed(&r, str_slice(in, at, at + step), add_line, &out);
        line_reader_end(&r, add_line, &out);
        assert_string_equal(out.data, "one|two||last|"); /* the long one is dropped whole */
        assert_int_equal(r.dropped, 1);
        line_reader_done(&r);
    }
}

static void test_redact__secrets_however_they_are_cut(void **state)
{
    RedactSet *s = redact_set_new();
    Str in = STR("x secret-one-longer secret-one secret-on secret-oneX secsecret-one");

    redact_set_add(s, "ONE", STR("secret-one"));
    redact_set_add(s, "LONG", STR("secret-one-longer"));
    redact_set_add(s, "SHORT", STR("secret"));        /* would hit words */
    redact_set_add(s, "AGAIN", STR(" secret-one\n")); /* the same, trimmed */
    for (size_t step = 1; step <= in.len; step++) {
        CLEANUP_BUF Buf out = BUF_INIT(1024);
        RedactStream r;
        redact_stream_init(&r);
        for (size_t at = 0; at < in.len; at += step)
            redact_stream(s, &r, str_slice(in, at, at + step), &out);
        redact_stream_end(s, &r, &out);
        redact_stream_done(&r);
        assert_string_equal(out.data,
                            "x [REDACTED_LONG] [REDACTED_ONE] secret-on [REDACTED_ONE]X sec[REDACTED_ONE]");
    }
    redact_set_free(s);
}

static void test_redact__holds_back_no_more_than_it_must(void **state)
{
    RedactSet *s = redact_set_new();
    CLEANUP_BUF Buf out = BUF_INIT(1024);
    RedactStream r;

    redact_set_add(s, "ONE", STR("secret-one"));
    redact_stream_init(&r);
    redact_stream(s, &r, STR("all of this, but not sec"), &out);
    assert_string_equal(out.data, "all of this, but not ");
    redact_stream(s, &r, STR("ond"), &out);
    assert_string_equal(out.data, "all of this, but not second");
    redact_stream_done(&r);
    redact_set_free(s);
}

static void test_stderr_ring__keeps_the_last_lines(void **state)
{
    StderrRing r;
    CLEANUP_BUF Buf out = BUF_INIT(4096), in = BUF_INIT(4096);

    stderr_ring_init(&r);
    stderr_ring_append(&r, &out);
    assert_int_equal(out.len, 0);
    for (int i = 1; i <= 60; i++)
        buf_addf(&in, "line %d\n", i);
    buf_addz(&in, "  \nunfinished \xff");
    stderr_ring_feed(&r, buf_str(&in));
    assert_true(stderr_ring_contains(&r, "line 12"));
    assert_false(stderr_ring_contains(&r, "line 9\n"));
    assert_true(stderr_ring_contains(&r, "unfinished"));
    stderr_ring_append(&r, &out);
    assert_string_equal(out.data,
                        "\n\nline 52\nline 53\nline 54\nline 55\nline 56\nline 57\nline 58\nline 59\n"
                        "line 60\nunfinished " BAD);
    stderr_ring_done(&r);
}

static void test_transcript__newest_messages_before_the_turn(void **state)
{
    Transcript t;
    CLEANUP_BUF Buf out = BUF_INIT(1 << 20), big = BUF_INIT(1 << 20);

    transcript_init(&t);
    transcript_add(&t, 1, "User", STR("question"));
    transcript_add(&t, 3, "Assistant", STR("answer"));
    transcript_add(&t, 5, "User", STR("the next one"));
    transcript_write(&t, 5, &out);
    assert_string_equal(out.data, "User: question\n\nAssistant: answer\n\n");
    while (big.len < 20 << 10)
        buf_addz(&big, "0123456789abcdef");
    for (uint64_t seq = 6; seq < 30; seq++)
        transcript_add(&t, seq, "User", buf_str(&big));
    buf_clear(&out);
    transcript_write(&t, 0, &out);
    assert_true(out.len <= TRANSCRIPT_MAX + 4096);
    assert_true(str_find(buf_str(&out), STR("question")) < 0);
    transcript_done(&t);
}

static void test_uuid__is_random_and_of_version_4(void **state)
{
    char a[UUID_LEN + 1], b[UUID_LEN + 1];

    uuid_new(a);
    uuid_new(b);
    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), UUID_LEN);
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
}

int run_text_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8__whatever_comes_the_same_comes_out_however_it_is_cut),
        cmocka_unit_test(test_utf8__cut_splits_no_character),
        cmocka_unit_test(test_line_reader__lines_however_they_are_cut),
        cmocka_unit_test(test_redact__secrets_however_they_are_cut),
        cmocka_unit_test(test_redact__holds_back_no_more_than_it_must),
        cmocka_unit_test(test_stderr_ring__keeps_the_last_lines),
        cmocka_unit_test(test_transcript__newest_messages_before_the_turn),
        cmocka_unit_test(test_uuid__is_random_and_of_version_4),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
