/* Tokens of sessions: minted for a start, renewed while the session is kept, replaced by ours when a server
   has none. */
#include "test-internal.h"

#include <string.h>
#include "base/list.h"
#include "base/mem.h"
#include "http/url.h"
#include "session-tokens.h"

#define PATIENCE (60 * USEC_PER_SEC)

/* More than a page, and more than two pages, of any list. */
#define MANY 1001

typedef struct World {
    Api api;
    Loop *loop;
    TokenSource *own;
    SessionTokens *tokens;
    List calls;
    Timer *guard;
    bool late;
    /* what the server does */
    Usec life;
    ErrCode fail;
    unsigned fail_every; /* of the sessions; 0 = all */
    unsigned asked[MANY + 1];
    const char *fail_text;
    unsigned minted, under_way, most; /* most: at a time */
    /* what was heard */
    unsigned told;
    char told_token[64];
    unsigned done;
    char token[64];
    ErrCode code;
} World;

struct ApiCall {
    ListLink link;
    World *w;
    Timer *timer;
    ApiJsonDone done;
    void *arg;
    unsigned session;
};

static void api_stop(ApiCall *c)
{
    c->w->under_way--;
    list_remove(&c->link);
    timer_free(c->timer);
    free(c);
}

static void answer(void *arg)
{
    ApiCall *c = arg;
    World *w = c->w;
    ApiJsonDone done = c->done;
    void *done_arg = c->arg;
    Err err = {0};
    char expires[RFC3339_MAX], token[64];
    bool fails = w->fail && (w->fail_every == 0 || c->session % w->fail_every == 0);
    api_stop(c);
    if (fails) {
        (void)err_set(&err, w->fail, "%s", w->fail_text ? w->fail_text : "planned");
        done(done_arg, NULL, &err);
        return;
    }
    (void)snprintf(token, sizeof(token), "minted-%u", ++w->minted);
    WallUsec when = {clock_wall(loop_clock(w->loop)).us + (int64_t)w->life};
    CLEANUP_JSON json_t *body =
        json_pack("{s:s,s:s}", "token", token, "expires_at", rfc3339_format(when, expires).ptr);
    done(done_arg, body, NULL);
}

static ApiCall *api_send(Api *a, const char *method, const char *path, Str body, ApiJsonDone done, void *arg)
{
    World *w = CONTAINER_OF(a, World, api);
    ApiCall *c = xnew(ApiCall);
    assert_string_equal(method, "POST");
    const size_t before = strlen("/sessions/s"), behind = strlen("/token");
    int64_t number = 0;
    assert_true(strlen(path) > before + behind);
    Str id = str_slice(str_from(path), before, strlen(path) - behind);
    assert_int_equal(str_to_i64(id, &number), 0);
    c->session = (unsigned)number;
    w->asked[c->session]++;
    c->w = w;
    c->done = done;
    c->arg = arg;
    c->timer = timer_new(w->loop, answer, c);
    timer_arm(c->timer, 0);
    list_push_back(&w->calls, &c->link);
    w->under_way++;
    w->most = w->under_way > w->most ? w->under_way : w->most;
    return c;
}

static void copy(char *to, size_t size, const Secret *token)
{
    Str text = secret_reveal(token);
    (void)snprintf(to, size, STR_FMT, STR_ARG(text));
}

static void on_token(void *arg, Str id, const Secret *token)
{
    World *w = arg;
    assert_true(id.len > 1 && *id.ptr == 's');
    w->told++;
    copy(w->told_token, sizeof(w->told_token), token);
}

static void on_done(void *arg, const Secret *token, const Err *err)
{
    World *w = arg;
    w->done++;
    w->code = err ? err->code : ERR_OK;
    copy(w->token, sizeof(w->token), token);
}

static void on_guard(void *arg)
{
    ((World *)arg)->late = true;
}

static void world_init(World *w, TokenMode mode)
{
    static const ApiOps ops = {.send = api_send, .cancel = api_stop};
    *w = (World){.api = {&ops}, .life = 3600 * USEC_PER_SEC};
    list_init(&w->calls);
    assert_int_equal(loop_new(&w->loop, NULL), 0);
    w->own = token_source_static(STR("the-platforms-own"));
    w->guard = timer_new(w->loop, on_guard, w);
    const SessionTokensOptions o = {
        .api = &w->api, .own = w->own, .mode = mode, .on_token = on_token, .arg = w};
    w->tokens = session_tokens_new(w->loop, &o);
}

static void world_done(World *w)
{
    session_tokens_free(w->tokens);
    assert_true(list_empty(&w->calls));
    token_source_free(w->own);
    timer_free(w->guard);
    loop_free(w->loop);
}

#define WAIT_FOR(w, cond)                                                                                    \
    do {                                                                                                     \
        timer_arm((w)->guard, PATIENCE);                                                                     \
        while (!(cond)) {                                                                                    \
            loop_run_once((w)->loop, true);                                                                  \
            if ((w)->late)                                                                                   \
                fail_msg("never: %s", #cond);                                                                \
        }                                                                                                    \
        timer_cancel((w)->guard);                                                                            \
    } while (0)

static const char *held(World *w)
{
    WallUsec expires;
    const Secret *s = session_tokens_get(w->tokens, STR("s1"), &expires);
    return s ? secret_reveal(s).ptr : "";
}

static void test_session_tokens__minted_and_then_renewed(void **state)
{
    World w;
    world_init(&w, TOKENS_AUTO);
    w.life = 3 * USEC_PER_SEC;
    session_tokens_mint(w.tokens, STR("s1"), on_done, &w);
    assert_int_equal(w.done, 0);
    WAIT_FOR(&w, w.done == 1);
    assert_string_equal(w.token, "minted-1");
    assert_int_equal(w.told, 0); /* the start has it already */
    WAIT_FOR(&w, w.told == 1);
    assert_string_equal(w.told_token, "minted-2");
    assert_string_equal(held(&w), "minted-2");
    session_tokens_forget(w.tokens, STR("s1"));
    assert_string_equal(held(&w), "");
    assert_int_equal(session_tokens_count(w.tokens), 0);
    world_done(&w);
}

static void test_session_tokens__a_runner_that_was_adopted_gets_one(void **state)
{
    World w;
    world_init(&w, TOKENS_AUTO);
    session_tokens_keep(w.tokens, STR("s1"));
    session_tokens_keep(w.tokens, STR("s1")); /* one call */
    WAIT_FOR(&w, w.told == 1);
    session_tokens_keep(w.tokens, STR("s1"));
    loop_run_once(w.loop, false);
    assert_int_equal(w.minted, 1);
    assert_string_equal(held(&w), "minted-1");
    world_done(&w);
}

static void test_session_tokens__a_start_gets_a_token_of_its_own_run(void **state)
{
    World w;
    world_init(&w, TOKENS_AUTO);
    session_tokens_keep(w.tokens, STR("s1"));
    WAIT_FOR(&w, w.told == 1);
    session_tokens_mint(w.tokens, STR("s1"), on_done, &w);
    WAIT_FOR(&w, w.done == 1);
    assert_string_equal(w.token, "minted-2");
    world_done(&w);
}

static void test_session_tokens__a_server_without_them_gives_ours(void **state)
{
    World w;
    world_init(&w, TOKENS_AUTO);
    w.fail = ERR_NOT_FOUND;
    w.fail_text = "ambient API error 404: ambient-api-server-404 -- doesn't exist";
    session_tokens_mint(w.tokens, STR("s1"), on_done, &w);
    WAIT_FOR(&w, w.done == 1);
    assert_string_equal(w.token, "the-platforms-own");
    /* and when ours is renewed, theirs is */
    token_source_set(w.own, STR("a-newer-one"));
    WAIT_FOR(&w, w.told == 1);
    assert_string_equal(w.told_token, "a-newer-one");
    world_done(&w);
}

static void test_session_tokens__ours_is_never_given_where_that_is_forbidden(void **state)
{
    World w;
    world_init(&w, TOKENS_ON);
    w.fail = ERR_METHOD_NOT_ALLOWED;
    session_tokens_mint(w.tokens, STR("s1"), on_done, &w);
    WAIT_FOR(&w, w.done == 1);
    assert_int_equal(w.code, ERR_METHOD_NOT_ALLOWED);
    assert_string_equal(held(&w), "");
    world_done(&w);
}

static void test_session_tokens__a_session_that_is_over_is_no_server_without_tokens(void **state)
{
    World w;
    world_init(&w, TOKENS_AUTO);
    w.fail = ERR_NOT_FOUND;
    w.fail_text = "ambient API error 404: ambient-api-server-7 -- Session with id='s1' not found";
    session_tokens_mint(w.tokens, STR("s1"), on_done, &w);
    WAIT_FOR(&w, w.done == 1);
    assert_int_equal(w.code, ERR_NOT_FOUND);
    assert_string_equal(held(&w), "");
    world_done(&w);
}

static void test_session_tokens__a_failed_renewal_keeps_the_old_one_and_tries_again(void **state)
{
    World w;
    world_init(&w, TOKENS_AUTO);
    w.life = 6 * USEC_PER_SEC;
    session_tokens_keep(w.tokens, STR("s1"));
    WAIT_FOR(&w, w.told == 1);
    w.fail = ERR_UNAVAILABLE;
    WAIT_FOR(&w, !list_empty(&w.calls));
    WAIT_FOR(&w, list_empty(&w.calls));
    assert_string_equal(held(&w), "minted-1");
    w.fail = ERR_OK;
    WAIT_FOR(&w, w.told == 2);
    assert_string_equal(held(&w), "minted-2");
    world_done(&w);
}

static void test_session_tokens__cancelled_is_not_heard(void **state)
{
    World w;
    world_init(&w, TOKENS_OFF);
    session_tokens_mint(w.tokens, STR("s1"), on_done, &w);
    session_tokens_cancel(w.tokens, STR("s1"));
    WAIT_FOR(&w, *held(&w));
    assert_int_equal(w.done, 0);
    assert_string_equal(held(&w), "the-platforms-own");
    world_done(&w);
}

/* Contract, section 15 (96), and 3 (11): whoever gets one has ten minutes of it, or four fifths. */
static void test_session_tokens__renewed_by_deadline(void **state)
{
    static const struct {
        Usec left, latest;
    } cases[] = {
        {3600, 240}, {900, 240}, {690, 124}, {300, 54}, {60, 10}, {3, 1}, {0, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Usec left = cases[i].left * USEC_PER_SEC, latest = session_token_renew_after(left, 0);
        assert_int_equal(latest / USEC_PER_SEC, cases[i].latest);
        Usec early = session_token_renew_after(left, 0.999), between = session_token_renew_after(left, 0.5);
        assert_true(early <= between && between <= latest && early >= USEC_PER_SEC);
        if (latest > 2 * USEC_PER_SEC)
            assert_in_range(early, latest / 4 * 3, latest / 5 * 4);
    }
}

static void keep_many(World *w)
{
    for (unsigned i = 1; i <= MANY; i++) {
        char id[16];
        int n = snprintf(id, sizeof(id), "s%u", i);
        session_tokens_keep(w->tokens, (Str){id, (size_t)n});
    }
}

/* R12, R15: when the control plane starts anew, every session that lives gets its token, and once. */
static void test_session_tokens__of_all_sessions_once_per_round(void **state)
{
    CLEANUP_FREE World *w = xnew(World);
    world_init(w, TOKENS_AUTO);
    keep_many(w);
    WAIT_FOR(w, w->told == MANY);
    for (unsigned i = 1; i <= MANY; i++)
        assert_int_equal(w->asked[i], 1);
    assert_int_equal(w->minted, MANY);
    SessionTokensStats st;
    session_tokens_stats(w->tokens, &st);
    assert_int_equal(st.kept, MANY);
    assert_int_equal(st.minted, MANY);
    world_done(w);
}

/* A control plane that comes to lead must not ask for all of them at a time; a start waits for none of them.
 */
static void test_session_tokens__a_crowd_is_asked_for_bit_by_bit(void **state)
{
    CLEANUP_FREE World *w = xnew(World);
    world_init(w, TOKENS_AUTO);
    keep_many(w);
    assert_int_equal(w->under_way, 16);
    session_tokens_mint(w->tokens, STR("s900"), on_done, w);
    assert_int_equal(w->under_way, 17);
    session_tokens_forget(w->tokens, STR("s1"));   /* one that is asked for: its place goes to the next */
    session_tokens_forget(w->tokens, STR("s800")); /* ... and one that waits */
    assert_int_equal(w->under_way, 16);
    WAIT_FOR(w, w->told + w->done == MANY - 2);
    assert_int_equal(w->most, 17);
    assert_int_equal(w->asked[800], 0);
    assert_int_equal(w->asked[900], 1);
    world_done(w);
}

/* R13: those that fail are tried again, and do not hold up the others. */
static void test_session_tokens__some_that_fail_do_not_stop_the_round(void **state)
{
    CLEANUP_FREE World *w = xnew(World);
    world_init(w, TOKENS_AUTO);
    w->fail = ERR_INTERNAL;
    w->fail_every = 100; /* ten of them */
    keep_many(w);
    WAIT_FOR(w, w->told == MANY - 10);
    WAIT_FOR(w, w->asked[1000] >= 2);
    assert_int_equal(w->asked[1001], 1);
    assert_int_equal(w->told, MANY - 10);
    w->fail = ERR_OK;
    WAIT_FOR(w, w->told == MANY);
    assert_int_equal(w->asked[1001], 1);
    world_done(w);
}

int run_session_tokens_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_tokens__minted_and_then_renewed),
        cmocka_unit_test(test_session_tokens__a_runner_that_was_adopted_gets_one),
        cmocka_unit_test(test_session_tokens__a_start_gets_a_token_of_its_own_run),
        cmocka_unit_test(test_session_tokens__a_server_without_them_gives_ours),
        cmocka_unit_test(test_session_tokens__ours_is_never_given_where_that_is_forbidden),
        cmocka_unit_test(test_session_tokens__a_session_that_is_over_is_no_server_without_tokens),
        cmocka_unit_test(test_session_tokens__a_failed_renewal_keeps_the_old_one_and_tries_again),
        cmocka_unit_test(test_session_tokens__cancelled_is_not_heard),
        cmocka_unit_test(test_session_tokens__renewed_by_deadline),
        cmocka_unit_test(test_session_tokens__of_all_sessions_once_per_round),
        cmocka_unit_test(test_session_tokens__a_crowd_is_asked_for_bit_by_bit),
        cmocka_unit_test(test_session_tokens__some_that_fail_do_not_stop_the_round),
    };
    return cmocka_run_group_tests_name("session-tokens", tests, NULL, NULL);
}
