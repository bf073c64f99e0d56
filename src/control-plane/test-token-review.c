/* The second factor of the token endpoint, against a server that answers as a Kubernetes API does. */
#include "test-internal.h"

#include <string.h>
#include "base/mem.h"
#include "http/server.h"
#include "token-review.h"

#define ME "system:serviceaccount:p:session-x-sa"
#define PATIENCE (20 * USEC_PER_SEC)

typedef struct World {
    Loop *loop;
    HttpServer *http;
    Kube *kube;
    KubeConfig config;
    TokenReviews *reviews;
    Timer *guard;
    bool late;
    int status; /* what the server says */
    const char *body;
    unsigned asked, answered;
    TokenVerdict verdict;
} World;

static void on_request(void *arg, HttpReq *r)
{
    World *w = arg;
    CLEANUP_FREE char *body = str_dup(http_req_body(r));
    assert_non_null(strstr(body, "\"audiences\":[\"us\"]"));
    w->asked++;
    http_reply_header(r, "Content-Type", STR("application/json"));
    http_reply(r, w->status, str_from(w->body));
}

static void on_verdict(void *arg, TokenVerdict v)
{
    World *w = arg;
    w->answered++;
    w->verdict = v;
}

static void on_guard(void *arg)
{
    ((World *)arg)->late = true;
}

static void world_init(World *w)
{
    *w = (World){.status = 201};
    assert_int_equal(loop_new(&w->loop, NULL), 0);
    assert_int_equal(http_server_new(w->loop, "127.0.0.1:0", NULL, &http_limits_default, on_request, NULL, w,
                                     &w->http, NULL),
                     0);
    w->config.server = xasprintf("http://127.0.0.1:%d", http_server_port(w->http));
    const KubeOptions ko = {.config = &w->config, .user_agent = "test", .manager = "test"};
    assert_int_equal(kube_new(w->loop, &ko, &w->kube, NULL), 0);
    w->reviews = token_reviews_new(w->kube, "us");
    w->guard = timer_new(w->loop, on_guard, w);
}

static void world_done(World *w)
{
    token_reviews_free(w->reviews);
    kube_free(w->kube);
    http_server_free(w->http);
    timer_free(w->guard);
    loop_free(w->loop);
    free(w->config.server);
}

static TokenVerdict ask(World *w, Str proof)
{
    unsigned before = w->answered;
    timer_arm(w->guard, PATIENCE);
    token_review_start(w->reviews, ME, proof, on_verdict, w);
    assert_int_equal(w->answered, before); /* never before it returns */
    while (w->answered == before && !w->late)
        loop_run_once(w->loop, true);
    assert_false(w->late);
    return w->verdict;
}

#define SAYS(authenticated, rest, user)                                                                      \
    "{\"status\":{\"authenticated\":" authenticated rest ",\"user\":{\"username\":\"" user "\"}}}"
#define AUDIENCE ",\"audiences\":[\"us\"]"

static void test_token_review__only_its_own_account_for_us_alone(void **state)
{
    static const struct {
        const char *body;
        TokenVerdict verdict;
    } cases[] = {
        {SAYS("true", AUDIENCE, ME), TOKEN_MAY},
        {SAYS("true", AUDIENCE, "system:serviceaccount:p:session-y-sa"), TOKEN_FORBIDDEN},
        {SAYS("true", AUDIENCE, ME "2"), TOKEN_FORBIDDEN},
        {SAYS("true", AUDIENCE, ""), TOKEN_FORBIDDEN},
        {SAYS("false", AUDIENCE, ME), TOKEN_UNPROVEN},
        {SAYS("true", "", ME), TOKEN_UNPROVEN}, /* of a server that knows no audiences */
        {"{}", TOKEN_UNPROVEN},
    };
    World w;
    world_init(&w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        w.body = cases[i].body;
        assert_int_equal(ask(&w, STR("proof")), cases[i].verdict);
    }
    assert_int_equal(w.asked, ARRAY_LEN(cases)); /* each time */
    world_done(&w);
}

/* Nothing is believed that was not said, and what was said counts while nobody can be asked. */
static void test_token_review__an_outage_leaves_those_alone_who_were_known(void **state)
{
    World w;
    world_init(&w);
    w.status = 403;
    w.body = "{\"kind\":\"Status\",\"reason\":\"Forbidden\",\"message\":\"no\"}";
    assert_int_equal(ask(&w, STR("proof")), TOKEN_LATER);
    w.status = 201;
    w.body = SAYS("true", AUDIENCE, ME);
    assert_int_equal(ask(&w, STR("proof")), TOKEN_MAY);
    w.status = 403;
    assert_int_equal(ask(&w, STR("proof")), TOKEN_MAY);
    assert_int_equal(ask(&w, STR("another")), TOKEN_LATER);
    w.status = 201;
    w.body = SAYS("false", "", "");
    assert_int_equal(ask(&w, STR("another")), TOKEN_UNPROVEN);
    w.status = 403;
    assert_int_equal(ask(&w, STR("proof")), TOKEN_MAY); /* that was another one */
    w.status = 201;
    assert_int_equal(ask(&w, STR("proof")), TOKEN_UNPROVEN);
    w.status = 403;
    assert_int_equal(ask(&w, STR("proof")), TOKEN_LATER);
    world_done(&w);
}

static void test_token_review__cancelled_is_not_heard(void **state)
{
    World w;
    world_init(&w);
    w.body = SAYS("true", AUDIENCE, ME);
    TokenReview *r = token_review_start(w.reviews, ME, STR("proof"), on_verdict, &w);
    token_review_cancel(r);
    assert_int_equal(ask(&w, STR("proof")), TOKEN_MAY);
    assert_int_equal(w.answered, 1);
    token_review_cancel(NULL);
    world_done(&w);
}

int run_token_review_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_review__only_its_own_account_for_us_alone),
        cmocka_unit_test(test_token_review__an_outage_leaves_those_alone_who_were_known),
        cmocka_unit_test(test_token_review__cancelled_is_not_heard),
    };
    return cmocka_run_group_tests_name("token-review", tests, NULL, NULL);
}
