#include "oidc.h"

#include <assert.h>
#include <stdlib.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "http/url.h"

#define PATIENCE (10 * USEC_PER_SEC)
#define RETRY_MIN (1 * USEC_PER_SEC)
#define RETRY_MAX (30 * USEC_PER_SEC)
/* Of an answer without expires_in. */
#define LIFE_UNKNOWN (60 * USEC_PER_SEC)
#define LIFE_MAX (24 * 3600 * USEC_PER_SEC)

struct Oidc {
    OidcOptions o;
    HttpCall *call;
    Timer *timer;
    Usec retry;
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

static void use(Oidc *c, const json_t *answer)
{
    Str token = json_get_strv(answer, "access_token");
    if (token.len == 0) {
        failed(c, "the answer has no access_token");
        return;
    }
    int64_t seconds = json_get_int(answer, "expires_in", 0);
    Usec life = seconds > 0 ? (Usec)seconds * USEC_PER_SEC : LIFE_UNKNOWN;
    token_source_set(c->o.target, token);
    c->retry = RETRY_MIN;
    again(c, (life < LIFE_MAX ? life : LIFE_MAX) / 2);
    if (c->o.on_token)
        c->o.on_token(c->o.arg);
}

static void on_answer(void *arg, const HttpResponse *r, const Err *err)
{
    Oidc *c = arg;
    c->call = NULL;
    CLEANUP_JSON json_t *j = NULL;
    if (err)
        failed(c, err->msg);
    else if (r->status != 200 || json_parse(r->body, &j, NULL) < 0)
        failed(c, r->status == 200 ? "the answer is not JSON" : "refused");
    else
        use(c, j);
}

static void add_field(Buf *b, const char *name, Str value)
{
    buf_addf(b, "%s%s=", b->len ? "&" : "", name);
    url_escape_query(b, value);
}

static void ask(void *arg)
{
    Oidc *c = arg;
    assert(!c->call);
    CLEANUP_BUF Buf body = BUF_INIT(16 * 1024);
    add_field(&body, "grant_type", STR("client_credentials"));
    add_field(&body, "client_id", str_from(c->o.client_id));
    add_field(&body, "client_secret", secret_reveal(c->o.client_secret));
    const HttpHeader headers[] = {{"Content-Type", STR("application/x-www-form-urlencoded")},
                                  {"Accept", STR("application/json")}};
    const HttpRequest req = {.method = "POST",
                             .url = c->o.url,
                             .headers = headers,
                             .n_headers = ARRAY_LEN(headers),
                             .body = buf_str(&body),
                             .timeout = PATIENCE,
                             .body_max = 1024 * 1024};
    c->call = http_send(c->o.http, &req, on_answer, c);
    secret_erase(body.data, body.len);
}

Oidc *oidc_new(Loop *l, const OidcOptions *o)
{
    Oidc *c = xnew(Oidc);
    c->o = *o;
    c->retry = RETRY_MIN;
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
