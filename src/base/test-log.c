#include "log-internal.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "test-internal.h"

static void assert_line(bool json, const LogField *fields, const char *want)
{
    CLEANUP_BUF Buf b = BUF_INIT(100000);
    log_format(&b, &(LogLine){.program = "p",
                              .json = json,
                              .time = {1500000},
                              .level = LOG_INFO,
                              .msg = "it went",
                              .fields = fields});
    assert_str_equal(buf_str(&b), want);
}

static void test_log__logfmt_and_json(void **state)
{
    const LogField fields[] = {F_STR("a", "plain"),
                               F_STR("b", "two words"),
                               F_STR("c", ""),
                               F_STR("d", NULL),
                               F_STR("e", "x=\"\\\n\x1b"),
                               F_INT("f", -3),
                               F_UINT("g", UINT64_MAX),
                               F_BOOL("h", true),
                               F_STR("i", "\xff\xc3\xa9\xc2\x9b"),
                               {0}};
    assert_line(
        false, fields,
        "time=1970-01-01T00:00:01.500000Z level=info program=p msg=\"it went\" a=plain b=\"two words\" "
        "c=\"\" "
        "d=\"\" "
        "e=\"x=\\\"\\\\\\n\\u001b\" f=-3 g=18446744073709551615 h=true i=\"\\ufffd\xc3\xa9\\u009b\"\n");
    assert_line(
        true, fields,
        "{\"time\":\"1970-01-01T00:00:01.500000Z\",\"level\":\"info\",\"program\":\"p\",\"msg\":\"it went\","
        "\"a\":\"plain\",\"b\":\"two words\",\"c\":\"\",\"d\":\"\",\"e\":\"x=\\\"\\\\\\n\\u001b\",\"f\":-3,"
        "\"g\":18446744073709551615,\"h\":true,\"i\":\"\\ufffd\xc3\xa9\\u009b\"}\n");
    assert_line(false, NULL, "time=1970-01-01T00:00:01.500000Z level=info program=p msg=\"it went\"\n");
}

static void test_log__long_strings_are_cut(void **state)
{
    char text[5000];
    memset(text, 'a', sizeof(text));
    text[4999] = '\0';
    memcpy(text + 2047, "\xe2\x82\xac", 3); /* straddles the limit */
    CLEANUP_BUF Buf b = BUF_INIT(100000);
    log_format(
        &b, &(LogLine){.level = LOG_ERROR, .msg = "m", .fields = (const LogField[]){F_STR("k", text), {0}}});
    assert_true(b.len < 2200);
    assert_true(str_ends(buf_str(&b), STR("aaa...\"\n")));
    assert_true(str_is_utf8(buf_str(&b)));
}

static void test_log__levels(void **state)
{
    LogLevel level = LOG_OFF;
    assert_int_equal(log_level_parse(STR("Warning"), &level), 0);
    assert_int_equal(level, LOG_WARN);
    assert_int_equal(log_level_parse(STR("loud"), &level), -1);
    assert_int_equal(level, LOG_WARN);
    log_setup("t", LOG_WARN, false);
    assert_false(log_enabled(LOG_INFO));
    assert_true(log_enabled(LOG_ERROR));
    log_setup("t", LOG_OFF, false);
    assert_false(log_enabled(LOG_ERROR));
    assert_false(log_enabled(LOG_OFF));
}

static void test_log__newest_lines_are_kept(void **state)
{
    CLEANUP_BUF Buf b = BUF_INIT(8192);
    log_setup("t", LOG_DEBUG, false);
    log_kept(&b);
    assert_int_equal(b.len, 0);
    log_keep(1000);
    for (int i = 0; i < 100; i++)
        log_debug("line", F_INT("n", i));
    log_kept(&b);
    assert_true(b.len > 500 && b.len <= 1000);
    assert_non_null(strstr(b.data, " n=99\n"));
    assert_null(strstr(b.data, " n=3\n"));
    assert_memory_equal(b.data, "time=", 5); /* whole lines */
    log_keep(0);
    log_setup("t", LOG_OFF, false);
}

static void test_log__equal_messages_are_limited_and_counted(void **state)
{
    static LogLimiter l;
    static const char flood[] = "flood", other[] = "other";
    Usec now = 10 * USEC_PER_SEC;
    for (int i = 0; i < LOG_RATE_PER_SEC; i++)
        assert_true(log_limiter_pass(&l, flood, now));
    for (int i = 0; i < 7; i++)
        assert_false(log_limiter_pass(&l, flood, now + USEC_PER_SEC - 1));
    assert_true(log_limiter_pass(&l, other, now));
    const char *msg;
    uint64_t count;
    assert_false(log_limiter_next(&l, now + USEC_PER_SEC - 1, &msg, &count));
    assert_true(log_limiter_next(&l, now + USEC_PER_SEC, &msg, &count));
    assert_ptr_equal(msg, flood);
    assert_int_equal(count, 7);
    assert_false(log_limiter_next(&l, now + 9 * USEC_PER_SEC, &msg, &count));
    assert_true(log_limiter_pass(&l, flood, now + USEC_PER_SEC));
}

static void test_log__limiter_keeps_the_count_of_a_slot_that_others_want(void **state)
{
    static LogLimiter l;
    static char messages[LOG_RATE_SLOTS * 64]; /* more addresses than slots */
    Usec now = USEC_PER_SEC;
    for (int i = 0; i < LOG_RATE_PER_SEC + 5; i++)
        log_limiter_pass(&l, messages, now);
    for (size_t i = 0; i < sizeof(messages); i++)
        if (i)
            assert_true(log_limiter_pass(&l, messages + i, now));
    const char *msg;
    uint64_t count;
    assert_true(log_limiter_next(&l, now + USEC_PER_SEC, &msg, &count));
    assert_ptr_equal(msg, messages);
    assert_int_equal(count, 5);
    assert_int_equal(l.suppressed, 0);
}

static void *log_many(void *arg)
{
    for (int i = 0; i < 100; i++)
        log_debug("from a thread", F_STR("who", (const char *)arg), F_INT("i", i));
    return NULL;
}

/* Runs `body` with standard error in a file and returns what was written. */
static void capture(void (*body)(void), Buf *out)
{
    char path[] = "/tmp/test-base-log-XXXXXX";
    int fd = mkstemp(path), saved = dup(STDERR_FILENO);
    assert_true(fd >= 0 && saved >= 0);
    dup2(fd, STDERR_FILENO);
    body();
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd);
    assert_int_equal(file_read(path, out, NULL), 0);
    unlink(path);
}

static void log_from_threads(void)
{
    pthread_t threads[4];
    char who[] = "me";
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_create(&threads[i], NULL, log_many, who);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
}

static void test_log__lines_of_threads_stay_whole(void **state)
{
    CLEANUP_BUF Buf out = BUF_INIT(1 << 20);
    log_setup("t", LOG_DEBUG, false);
    capture(log_from_threads, &out);
    log_setup("t", LOG_INFO, false);
    Str rest = buf_str(&out);
    int lines = 0;
    while (rest.len) {
        Str line = str_cut(&rest, '\n');
        assert_true(str_starts(line, STR("time=")));
        assert_true(str_find(line, STR("level=debug program=t msg=\"from a thread\" who=me i=")) > 0);
        lines++;
    }
    assert_int_equal(lines, 400);
}

static void log_huge(void)
{
    char text[2048];
    memset(text, '\x01', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_info("huge", F_STR("a", text), F_STR("b", text), F_STR("c", text), F_STR("d", text), F_STR("e", text),
             F_STR("f", text));
}

static void test_log__a_line_that_is_too_long_loses_its_fields_only(void **state)
{
    CLEANUP_BUF Buf out = BUF_INIT(1 << 20);
    log_setup("t", LOG_INFO, true);
    capture(log_huge, &out);
    log_setup("t", LOG_INFO, false);
    assert_true(str_ends(buf_str(&out), STR("\"msg\":\"huge\",\"fields_too_long\":true}\n")));
}

int run_log_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log__logfmt_and_json),
        cmocka_unit_test(test_log__long_strings_are_cut),
        cmocka_unit_test(test_log__levels),
        cmocka_unit_test(test_log__newest_lines_are_kept),
        cmocka_unit_test(test_log__equal_messages_are_limited_and_counted),
        cmocka_unit_test(test_log__limiter_keeps_the_count_of_a_slot_that_others_want),
        cmocka_unit_test(test_log__lines_of_threads_stay_whole),
        cmocka_unit_test(test_log__a_line_that_is_too_long_loses_its_fields_only),
    };
    return cmocka_run_group_tests_name("base-log", tests, NULL, NULL);
}
