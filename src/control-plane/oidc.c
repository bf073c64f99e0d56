#include "oidc.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "client/jwt.h"
#include "crypto/crypto.h"
#include "http/url.h"

#define PATIENCE (10 * USEC_PER_SEC)
#define RETRY_MIN (1 * USEC_PER_SEC)
#define RETRY_MAX (30 * USEC_PER_SEC)
/* Of an answer without expires_in whose token does not say it either; seconds. */
#define LIFE_UNKNOWN 60
#define LIFE_MAX (24 * 3600) /* seconds */

struct Oidc {
    OidcOptions o;
    HttpCall *call;
    Timer *timer;
    Usec retry;
    const Clock *clock;
    bool in_body;  /* how we say who we are */
    bool accepted; /* that way has worked */
};

static void again(Oidc *c, Usec after)
{
    uint32_t r;
    random_bytes(&r, sizeof(r));
    timer_arm(c->timer, after * 9 / 10 + after / 5 * (r % 1024) / 1024);
}

static void failed(Oidc *c, const char *why)
{
    log_warn("no token from the identity provider, will retry", F_STR("component", "oidc-token-provider"),
             F_STR("error", why), F_UINT("retry_in", c->retry / USEC_PER_MSEC));
    again(c, c->retry);
    c->retry = c->retry * 2 < RETRY_MAX ? c->retry * 2 : RETRY_MAX;
}

/* Seconds, by the token's own claim `exp`; 0 = it is no JWT, or is over. */
static int64_t jwt_left(Str token, WallUsec now)
{
    CLEANUP_JSON json_t *claims = jwt_claims(token);
    int64_t left = json_get_int(claims, "exp", 0) - now.us / (int64_t)USEC_PER_SEC;
    return left > 0 ? left : 0;
}

Usec oidc_life(const json_t *answer, WallUsec now)
{
    int64_t seconds = json_get_int(answer, "expires_in", 0);
    if (seconds <= 0)
        seconds = jwt_left(json_get_strv(answer, "access_token"), now);
    if (seconds <= 0)
        seconds = LIFE_UNKNOWN;
    return (Usec)(seconds < LIFE_MAX ? seconds : LIFE_MAX) * USEC_PER_SEC;
}

static void use(Oidc *c, const json_t *answer)
{
    Str token = json_get_strv(answer, "access_token");
    if (token.len == 0) {
        failed(c, "the answer has no access_token");
        return;
    }
    c->accepted = true;
    token_source_set(c->o.target, token);
    c->retry = RETRY_MIN;
    again(c, oidc_life(answer, clock_wall(c->clock)) / 2);
    if (c->o.on_token)
        c->o.on_token(c->o.arg);
}

/* The client may be known, and only not in this way. */
static void refused(Oidc *c, int status)
{
    char why[64];
    bool other_way = !c->accepted && !c->in_body && status >= 400 && status < 500 && status != 429;
    c->in_body = c->accepted ? c->in_body : other_way;
    snprintf(why, sizeof why, "refused with %d", status);
    if (other_way)
        timer_arm(c->timer, 0);
    else
        failed(c, why);
}

static void on_answer(void *arg, const HttpResponse *r, const Err *err)
{
    Oidc *c = arg;
    c->call = NULL;
    CLEANUP_JSON json_t *j = NULL;
    if (err)
        failed(c, err->msg);
    else if (r->status != 200)
        refused(c, r->status);
    else if (json_parse(r->body, &j, NULL) < 0)
        failed(c, "the answer is not JSON");
    else
        use(c, j);
}

static void add_field(Buf *b, const char *name, Str value)
{
    buf_addf(b, "%s%s=", b->len ? "&" : "", name);
    url_escape_query(b, value);
}

static void write_basic(const Oidc *c, Buf *b)
{
    CLEANUP_BUF Buf plain = BUF_INIT(8 * 1024);
    url_escape_query(&plain, str_from(c->o.client_id));
    buf_addc(&plain, ':');
    url_escape_query(&plain, secret_reveal(c->o.client_secret));
    buf_addz(b, "Basic ");
    base64_write(b, plain.data, plain.len);
    secret_erase(plain.data, plain.cap);
}

static void ask(void *arg)
{
    Oidc *c = arg;
    assert(!c->call);
    CLEANUP_BUF Buf body = BUF_INIT(16 * 1024);
    add_field(&body, "grant_type", STR("client_credentials"));
    CLEANUP_BUF Buf who = BUF_INIT(16 * 1024);
    if (c->in_body) {
        add_field(&body, "client_id", str_from(c->o.client_id));
        add_field(&body, "client_secret", secret_reveal(c->o.client_secret));
    } else {
        write_basic(c, &who);
    }
    const HttpHeader headers[] = {{"Content-Type", STR("application/x-www-form-urlencoded")},
                                  {"Accept", STR("application/json")},
                                  {"Authorization", buf_str(&who)}};
    const HttpRequest req = {.method = "POST",
                             .url = c->o.url,
                             .headers = headers,
                             .n_headers = ARRAY_LEN(headers) - c->in_body,
                             .body = buf_str(&body),
                             .timeout = PATIENCE,
                             .body_max = 1024 * 1024};
    c->call = http_send(c->o.http, &req, on_answer, c);
    secret_erase(body.data, body.len);
    if (who.data)
        secret_erase(who.data, who.len);
}

Oidc *oidc_new(Loop *l, const OidcOptions *o)
{
    Oidc *c = xnew(Oidc);
    c->o = *o;
    c->retry = RETRY_MIN;
    c->clock = loop_clock(l);
    c->timer = timer_new(l, ask, c);
    timer_arm(c->timer, 0);
    return c;
}

Oidc *oidc_free(Oidc *c)
{
    if (!c)
        return NULL;
    http_cancel(c->call);
    timer_free(c->timer);
    free(c);
    return NULL;
}
