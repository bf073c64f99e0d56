#include "session-tokens.h"

#include <assert.h>
#include <string.h>
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/url.h"
#include "json/json.h"

#define RETRY_MIN (1 * USEC_PER_SEC)
#define RETRY_MAX (30 * USEC_PER_SEC)
#define LEFT_MIN (600 * USEC_PER_SEC)
#define RENEW_MIN (1 * USEC_PER_SEC)
#define RENEW_MAX (4 * 60 * USEC_PER_SEC)
/* So many are asked for at a time, beside those that a start waits for: a control plane that comes to lead
   asks for the tokens of all sessions that live. */
#define CALLS_MAX 16
/* The platform's own token is looked at that often; it has a life that is not ours to know. */
#define LOOK_AT_OWN (2 * USEC_PER_SEC)

typedef struct Entry {
    SessionTokens *all;
    Secret *token; /* NULL = none yet */
    WallUsec expires;
    ApiCall *call;
    ListLink waiting; /* for others' calls to end */
    Timer *timer;     /* the next renewal, or the next try */
    Usec backoff;
    SessionTokenDone done; /* of session_tokens_mint(); NULL = nobody waits */
    void *arg;
    char id[];
} Entry;

struct SessionTokens {
    Loop *loop;
    SessionTokensOptions o;
    Map *entries; /* session id -> Entry, owned */
    List waiting;
    unsigned calls;
    bool told_of_fallback;
    uint64_t minted, failed;
};

int token_mode_parse(Str s, TokenMode *ret)
{
    static const char *const names[_TOKENS_MAX] = {"auto", "on", "off"};
    for (int i = 0; i < _TOKENS_MAX; i++) {
        if (!str_eqz(s, names[i]))
            continue;
        *ret = (TokenMode)i;
        return 0;
    }
    return -1;
}

SessionTokens *session_tokens_new(Loop *l, const SessionTokensOptions *o)
{
    SessionTokens *t = xnew(SessionTokens);
    t->loop = l;
    t->o = *o;
    t->entries = map_new();
    list_init(&t->waiting);
    return t;
}

/* ---- one call of each, and not too many of all ---- */

static void send_call(Entry *e);

static void call_next(SessionTokens *t)
{
    while (t->calls < CALLS_MAX && !list_empty(&t->waiting))
        send_call(LIST_ENTRY(t->waiting.next, Entry, waiting));
}

static void call_ended(Entry *e)
{
    e->call = NULL;
    e->all->calls--;
}

static void drop_call(Entry *e)
{
    list_remove(&e->waiting);
    if (!e->call)
        return;
    api_cancel(e->all->o.api, e->call);
    call_ended(e);
}

static void entry_free(Entry *e)
{
    drop_call(e);
    timer_free(e->timer);
    secret_free(e->token);
    free(e);
}

SessionTokens *session_tokens_free(SessionTokens *t)
{
    if (!t)
        return NULL;
    MAP_FOREACH (t->entries, it)
        entry_free(it.value);
    map_free(t->entries);
    free(t);
    return NULL;
}

static void on_timer(void *arg);

static Entry *entry_of(SessionTokens *t, Str id)
{
    Entry *e = map_get(t->entries, id);
    if (e)
        return e;
    e = xcalloc(1, sizeof(*e) + id.len + 1);
    memcpy(e->id, id.ptr, id.len);
    e->all = t;
    list_init(&e->waiting);
    e->timer = timer_new(t->loop, on_timer, e);
    map_put(t->entries, id, e);
    return e;
}

/* ---- what comes of it ---- */

static void tell(Entry *e, const Err *err)
{
    SessionTokenDone done = e->done;
    void *arg = e->arg;
    e->done = NULL;
    if (done)
        done(arg, err ? NULL : e->token, err);
}

/* Whoever is given a token has at least ten minutes of it, or four fifths of a short life: runners and
   sidecars come again every five minutes. */
static Usec spare_of(Usec life)
{
    Usec least = life / 5 * 4 < LEFT_MIN ? life / 5 * 4 : LEFT_MIN;
    return (life - least) / 10 * 9; /* the rest is for the renewal itself */
}

/* Never later than said: what began together is spread by going earlier, a little more in each round. */
static Usec spread(Usec after, double random)
{
    return (Usec)((double)after * (1 - random / 4));
}

static double random_of(const SessionTokens *t)
{
    return t->o.random ? t->o.random(t->o.arg) : 0;
}

Usec session_token_renew_after(Usec left, double random)
{
    Usec after = left / 3 < spare_of(left) ? left / 3 : spare_of(left);
    after = spread(after < RENEW_MAX ? after : RENEW_MAX, random);
    return after < RENEW_MIN ? RENEW_MIN : after;
}

static Usec renew_after(const Entry *e)
{
    int64_t left = e->expires.us - clock_wall(loop_clock(e->all->loop)).us;
    return session_token_renew_after(left > 0 ? (Usec)left : 0, random_of(e->all));
}

/* The entry may be gone when this returns: whoever is told may forget it. */
static void have_token(Entry *e, Str text, WallUsec expires)
{
    SessionTokens *t = e->all;
    bool same = secret_equals(e->token, text), asked = e->done != NULL;
    e->expires = expires;
    e->backoff = 0;
    timer_arm(e->timer, expires.us ? renew_after(e) : LOOK_AT_OWN);
    if (!same) {
        secret_free(e->token);
        e->token = secret_new(text);
    }
    if (asked)
        tell(e, NULL);
    else if (!same && t->o.on_token)
        t->o.on_token(t->o.arg, str_from(e->id), e->token);
}

static void use_own(Entry *e)
{
    const Secret *own = token_source_get(e->all->o.own);
    Err err = {0};
    if (secret_is_empty(own)) {
        (void)err_set(&err, ERR_UNAVAILABLE, "there is no token for the runner yet");
        timer_arm(e->timer, LOOK_AT_OWN);
        tell(e, &err);
        return;
    }
    have_token(e, secret_reveal(own), (WallUsec){0});
}

/* A server without this route answers in its router's words, or that the method is wrong. */
static bool has_no_such_route(const Err *err)
{
    return err->code == ERR_METHOD_NOT_ALLOWED || err->code == ERR_UNIMPLEMENTED ||
           (err->code == ERR_NOT_FOUND && !strstr(err->msg, "ambient-api-server-7"));
}

static void fail(Entry *e, const Err *err)
{
    bool over = err->code == ERR_NOT_FOUND || err->code == ERR_CONFLICT; /* its pod may take longer to end */
    e->all->failed += !over;
    e->backoff = e->backoff ? e->backoff * 2 : RETRY_MIN;
    if (e->backoff > RETRY_MAX)
        e->backoff = RETRY_MAX;
    if (!e->done && over)
        log_debug("a session that is over gets no token", F_STR("session_id", e->id), F_ERR(err));
    else if (!e->done)
        log_warn("a session's token cannot be renewed", F_STR("session_id", e->id), F_ERR(err));
    if (!over && !e->done)
        timer_arm(e->timer, spread(e->backoff, random_of(e->all)));
    tell(e, err);
}

static int read_answer(const json_t *body, Str *ret_token, WallUsec *ret_expires, Err *err)
{
    *ret_token = json_get_strv(body, "token");
    if (!ret_token->len || rfc3339_parse(json_get_strv(body, "expires_at"), ret_expires) < 0)
        return err_set(err, ERR_BAD_GATEWAY, "the API server's answer holds no token");
    return 0;
}

static void on_minted(void *arg, const json_t *body, const Err *err)
{
    Entry *e = arg;
    SessionTokens *t = e->all;
    Err why = {0};
    Str token;
    WallUsec expires;
    call_ended(e);
    if (err && t->o.mode == TOKENS_AUTO && has_no_such_route(err)) {
        if (!t->told_of_fallback)
            log_warn("the API server has no tokens for sessions: runners get the platform's own", F_ERR(err));
        t->told_of_fallback = true;
        use_own(e);
    } else if (err) {
        fail(e, err);
    } else if (read_answer(body, &token, &expires, &why) < 0) {
        fail(e, &why);
    } else {
        t->minted++;
        have_token(e, token, expires);
    }
    call_next(t);
}

static void send_call(Entry *e)
{
    SessionTokens *t = e->all;
    CLEANUP_BUF Buf path = BUF_INIT(1024);
    list_remove(&e->waiting);
    t->calls++;
    (void)buf_addz(&path, "/sessions/");
    url_escape_segment(&path, str_from(e->id));
    (void)buf_addz(&path, "/token");
    e->call = t->o.api->ops->send(t->o.api, "POST", path.data, STR("{}"), on_minted, e);
}

static void mint(Entry *e)
{
    SessionTokens *t = e->all;
    if (e->call)
        return;
    if (t->o.mode == TOKENS_OFF || t->told_of_fallback) {
        timer_arm(e->timer, 0); /* never before the call returns */
        return;
    }
    timer_cancel(e->timer);
    if (e->done || t->calls < CALLS_MAX)
        send_call(e);
    else if (!list_linked(&e->waiting))
        list_push_back(&t->waiting, &e->waiting);
}

static void on_timer(void *arg)
{
    Entry *e = arg;
    if (e->all->o.mode == TOKENS_OFF || e->all->told_of_fallback)
        use_own(e);
    else
        mint(e);
}

/* ---- for others ---- */

void session_tokens_mint(SessionTokens *t, Str id, SessionTokenDone done, void *arg)
{
    Entry *e = entry_of(t, id);
    assert(!e->done);
    e->done = done;
    e->arg = arg;
    /* Of an earlier run, or asked for before this start. */
    drop_call(e);
    mint(e);
}

void session_tokens_cancel(SessionTokens *t, Str id)
{
    Entry *e = map_get(t->entries, id);
    if (e)
        e->done = NULL;
}

void session_tokens_keep(SessionTokens *t, Str id)
{
    Entry *e = entry_of(t, id);
    if (!e->token && !e->call && !timer_armed(e->timer) && !list_linked(&e->waiting))
        mint(e);
}

void session_tokens_forget(SessionTokens *t, Str id)
{
    Entry *e = map_get(t->entries, id);
    if (!e || e->done) /* a start is under way */
        return;
    map_remove(t->entries, id);
    entry_free(e);
    call_next(t);
}

const Secret *session_tokens_get(SessionTokens *t, Str id, WallUsec *ret_expires)
{
    const Entry *e = map_get(t->entries, id);
    if (!e || !e->token || (e->expires.us && e->expires.us <= clock_wall(loop_clock(t->loop)).us))
        return NULL;
    *ret_expires = e->expires;
    return e->token;
}

void session_tokens_stats(const SessionTokens *t, SessionTokensStats *ret)
{
    *ret = (SessionTokensStats){.kept = map_len(t->entries), .minted = t->minted, .failed = t->failed};
}

size_t session_tokens_count(const SessionTokens *t)
{
    return map_len(t->entries);
}
