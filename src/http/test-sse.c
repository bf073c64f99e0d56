#include "test-internal.h"

#include <string.h>
#include "base/mem.h"
#include "http/client.h"

/* Events as text: "id|event|data;" each. */
typedef struct Log {
    Buf text;
    SseDecoder *free_me;
} Log;

static void on_event(void *arg, const SseEvent *ev)
{
    Log *log = arg;
    buf_addf(&log->text, STR_FMT "|" STR_FMT "|" STR_FMT ";", STR_ARG(ev->id), STR_ARG(ev->event),
             STR_ARG(ev->data));
    if (log->free_me)
        log->free_me = sse_decoder_free(log->free_me);
}

typedef struct SseCase {
    const char *in, *out;
} SseCase;

static const SseCase cases[] = {
    {"data: a\n\n", "||a;"},
    {"data:a\n\n", "||a;"},
    {"data:  a\n\n", "|| a;"},
    {"data: a\ndata: b\n\n", "||a\nb;"},
    {"data\n\n", "||;"},
    {"data\ndata\n\n", "||\n;"},
    {"data:\n\n", "||;"},
    {"data: a\r\n\r\n", "||a;"},
    {"data: a\r\r", "||a;"},
    {"data: a\r\n\ndata: b\n\r\n", "||a;||b;"},
    {"data: a\n\rdata: b\r\n\r", "||a;||b;"},
    {"\xef\xbb\xbf"
     "data: a\n\n",
     "||a;"},
    {"\xef\xbb\xbf\xef\xbb\xbf"
     "data: a\n\n",
     ""},
    {"\n\xef\xbb\xbf"
     "data: a\n\n",
     ""},
    {": comment\n\n", ""},
    {":\n:\ndata: a\n: x\n\n", "||a;"},
    {"event: e\ndata: a\n\ndata: b\n\n", "|e|a;||b;"},
    {"event: e\n\ndata: a\n\n", "||a;"},
    {"id: 1\ndata: a\n\ndata: b\n\n", "1||a;1||b;"},
    {"id: 1\n\nid\ndata: b\n\n", "||b;"},
    {"id: 1\ndata: a\n\nid:2\n\ndata: b\n\n", "1||a;2||b;"},
    {"unknown: x\nDATA: y\ndata: a\n\n", "||a;"},
    {"data: never ended\n", ""},
    {"data: a: b\n\n", "||a: b;"},
    {"data : a\n\n", ""},
};

static void run(const SseCase *c, size_t first)
{
    Log log = {.text = BUF_INIT(10000)};
    SseDecoder *d = sse_decoder_new(1000, on_event, &log);
    Str in = str_from(c->in);
    if (first > in.len) { /* byte by byte */
        for (size_t i = 0; i < in.len; i++)
            assert_int_equal(sse_decoder_feed(d, str_slice(in, i, i + 1)), 0);
    } else {
        assert_int_equal(sse_decoder_feed(d, str_slice(in, 0, first)), 0);
        assert_int_equal(sse_decoder_feed(d, str_slice(in, first, in.len)), 0);
    }
    if (!str_eqz(buf_str(&log.text), c->out))
        fail_msg("\"%s\" cut at %zu gives \"%s\", not \"%s\"", c->in, first, log.text.data, c->out);
    sse_decoder_free(d);
    buf_done(&log.text);
}

static void test_sse__any_cut_gives_the_same_events(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t first = 0; first <= strlen(cases[i].in) + 1; first++)
            run(&cases[i], first);
}

static void test_sse__id_with_nul_is_ignored(void **state)
{
    Log log = {.text = BUF_INIT(1000)};
    SseDecoder *d = sse_decoder_new(1000, on_event, &log);
    assert_int_equal(sse_decoder_feed(d, STR("id: a\0b\ndata: x\n\n")), 0);
    assert_string_equal(log.text.data, "||x;");
    sse_decoder_free(d);
    buf_done(&log.text);
}

static void test_sse__retry(void **state)
{
    Log log = {.text = BUF_INIT(1000)};
    SseDecoder *d = sse_decoder_new(1000, on_event, &log);
    assert_true(sse_decoder_retry(d) == USEC_NEVER);
    sse_decoder_feed(d, STR("retry: 1500\n"));
    assert_int_equal(sse_decoder_retry(d), 1500 * USEC_PER_MSEC);
    sse_decoder_feed(d, STR("retry: -1\nretry: 1x\nretry:\nretry: 99999999999999999999\nretry:  7\n"));
    assert_int_equal(sse_decoder_retry(d), 1500 * USEC_PER_MSEC);
    sse_decoder_free(d);
}

#define LIMIT 32

static int feed_cut(Str in, size_t first)
{
    Log log = {.text = BUF_INIT(10000)};
    SseDecoder *d = sse_decoder_new(LIMIT, on_event, &log);
    int rc = sse_decoder_feed(d, str_slice(in, 0, first));
    if (rc == 0)
        rc = sse_decoder_feed(d, str_slice(in, first, in.len));
    if (rc < 0) /* and it stays dead */
        assert_int_equal(sse_decoder_feed(d, STR("\n")), -ERR_TOO_LARGE);
    sse_decoder_free(d);
    buf_done(&log.text);
    return rc;
}

static void test_sse__limit_holds_at_any_cut(void **state)
{
    static const struct {
        const char *in;
        int rc;
    } limits[] = {
        {"data: 67890123456789012345678901\n\n", 0},
        {"data: 678901234567890123456789012\n\n", -ERR_TOO_LARGE},
        {"data: 012345678\ndata: 012345678\ndata: 012345678\n", -ERR_TOO_LARGE},
        {"data: 012345\n\ndata: 012345\n\ndata: 012345\n\ndata: 012345\n\n", 0},
        {": 4567890123456789012345678901234567890\n", -ERR_TOO_LARGE},
    };
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        for (size_t first = 0; first <= strlen(limits[i].in); first++)
            if (feed_cut(str_from(limits[i].in), first) != limits[i].rc)
                fail_msg("\"%s\" cut at %zu", limits[i].in, first);
}

static void test_sse__freed_in_its_callback(void **state)
{
    Log log = {.text = BUF_INIT(1000)};
    log.free_me = sse_decoder_new(1000, on_event, &log);
    sse_decoder_feed(log.free_me, STR("data: a\n\ndata: b\n\n"));
    assert_string_equal(log.text.data, "||a;");
    assert_null(log.free_me);
    assert_null(sse_decoder_free(NULL));
    buf_done(&log.text);
}

int test_sse_group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sse__any_cut_gives_the_same_events),
        cmocka_unit_test(test_sse__id_with_nul_is_ignored),
        cmocka_unit_test(test_sse__retry),
        cmocka_unit_test(test_sse__limit_holds_at_any_cut),
        cmocka_unit_test(test_sse__freed_in_its_callback),
    };
    return cmocka_run_group_tests_name("sse", tests, NULL, NULL);
}
