#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "test-internal.h"

static void on_drain(void *arg)
{
}

static void on_gone(void *arg)
{
    ((TestApi *)arg)->open = NULL;
}

static void send_pieces(TestApi *t, HttpReq *r, const Answer *a)
{
    static const HttpStreamOps ops = {on_drain, on_gone};
    t->open = http_stream_start(r, a->status, &ops, t);
    Str rest = str_from(a->body), piece = STR_NULL;
    while (rest.ptr) {
        piece = str_cut(&rest, '|');
        if (rest.ptr || piece.len > 0)
            http_stream_write(t->open, piece);
    }
    if (a->body[0] && a->body[strlen(a->body) - 1] == '|')
        return;
    http_stream_end(t->open);
    t->open = NULL;
}

static void on_request(void *arg, HttpReq *r)
{
    TestApi *t = arg;
    if (t->n_requests >= t->n_answers) {
        fail_msg("unexpected request: " STR_FMT " " STR_FMT, STR_ARG(http_req_method(r)),
                 STR_ARG(http_req_raw_target(r)));
        return;
    }
    const Answer *a = &t->answers[t->n_requests++];
    CLEANUP_FREE char *line =
        xasprintf(STR_FMT " " STR_FMT, STR_ARG(http_req_method(r)), STR_ARG(http_req_raw_target(r)));
    if (strncmp(line, a->request, strlen(a->request)) != 0)
        fail_msg("request is %s, not %s", line, a->request);
    if (a->want && str_find(http_req_body(r), str_from(a->want)) < 0)
        fail_msg("body of %s is " STR_FMT, line, STR_ARG(http_req_body(r)));
    if (a->bearer) {
        CLEANUP_FREE char *want = xasprintf("Bearer %s", a->bearer);
        assert_true(str_eqz(http_req_header(r, "Authorization"), want));
    }
    http_reply_header(r, "Content-Type", STR("application/json"));
    if (a->header)
        http_reply_header(r, a->header, str_from(a->value));
    if (a->stream)
        send_pieces(t, r, a);
    else
        http_reply(r, a->status, str_from(a->body));
}

void test_api_init(TestApi *t, const Answer *answers, size_t n, const KubeOptions *o)
{
    Err err = {0};
    *t = (TestApi){.answers = answers, .n_answers = n};
    assert_int_equal(loop_new(&t->loop, &err), 0);
    assert_int_equal(http_server_new(t->loop, "127.0.0.1:0", NULL, &http_limits_default, on_request, NULL, t,
                                     &t->server, &err),
                     0);
    t->config = (KubeConfig){.server = xasprintf("http://127.0.0.1:%d", http_server_port(t->server)),
                             .ns = xstrdup("default")};
    KubeOptions options = o ? *o : (KubeOptions){0};
    options.config = &t->config;
    options.manager = "tests";
    assert_int_equal(kube_new(t->loop, &options, &t->kube, &err), 0);
}

void test_api_done(TestApi *t)
{
    assert_int_equal(t->n_requests, t->n_answers);
    kube_free(t->kube);
    http_server_free(t->server);
    loop_free(t->loop);
    kube_config_done(&t->config);
}

static void give_up(void *arg)
{
    fail_msg("waited too long");
}

void test_wait(TestApi *t, const bool *flag)
{
    Timer *timer = timer_new(t->loop, give_up, NULL);
    timer_arm(timer, 10 * USEC_PER_SEC);
    while (!*flag)
        loop_run_once(t->loop, true);
    timer_free(timer);
}

void test_result(void *arg, json_t *body, const KubeError *e)
{
    TestResult *r = arg;
    assert_false(r->done);
    assert_true(!body == !!e);
    r->done = true;
    r->body = json_incref(body);
    if (e)
        r->e = *e;
}

void test_result_done(TestResult *r)
{
    json_decref(r->body);
    *r = (TestResult){0};
}
