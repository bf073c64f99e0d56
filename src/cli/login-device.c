#include "login.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "client/client.h"
#include "jwt.h"
#include "output.h"

#define LIFE_MAX 1800 /* seconds */

typedef struct Device {
    const LoginFlow *flow;
    Secret *code;
    int64_t interval, life; /* seconds */
} Device;

static void on_timer(void *arg)
{
    bool *done = arg;
    *done = true;
}

static void wait_for(Loop *l, int64_t seconds)
{
    bool done = false;
    Timer *t = timer_new(l, on_timer, &done);
    timer_arm(t, (Usec)seconds * USEC_PER_SEC);
    client_wait(l, &done);
    timer_free(t);
}

static void say(const json_t *body)
{
    CLEANUP_BUF Buf uri = BUF_INIT(8192);
    CLEANUP_BUF Buf code = BUF_INIT(256);
    CLEANUP_BUF Buf both = BUF_INIT(8192);
    clean_text(&uri, json_get_strv(body, "verification_uri"), false);
    clean_text(&code, json_get_strv(body, "user_code"), false);
    clean_text(&both, json_get_strv(body, "verification_uri_complete"), false);
    printf("To log in, open this address on any device:\n\n  " STR_FMT "\n\nand enter the code " STR_FMT "\n",
           STR_ARG(buf_str(&uri)), STR_ARG(buf_str(&code)));
    if (both.len)
        printf("or open " STR_FMT "\n", STR_ARG(buf_str(&both)));
    fflush(stdout);
}

static int64_t clamped(int64_t v, int64_t min, int64_t max)
{
    return v < min ? min : v > max ? max : v;
}

static int begin(Device *d, Err *err)
{
    const char *endpoint = oidc_endpoint(d->flow->oidc, "device_authorization_endpoint");
    CLEANUP_BUF Buf form = BUF_INIT((size_t)256 * 1024);
    CLEANUP_JSON json_t *body = NULL;
    if (!endpoint)
        return err_set(err, ERR_UNIMPLEMENTED, "the issuer offers no device login");
    if (*d->flow->scopes)
        form_add(&form, "scope", str_from(d->flow->scopes));
    int rc = oidc_ask(d->flow->oidc, endpoint, &form, &body, err);
    if (rc < 0)
        return rc;
    if (!json_get_strv(body, "device_code").len || !json_get_strv(body, "user_code").len ||
        !json_get_strv(body, "verification_uri").len)
        return err_set(err, ERR_BAD_GATEWAY, "the issuer's answer lacks the device's codes");
    d->code = secret_new(json_get_strv(body, "device_code"));
    d->interval = clamped(json_get_int(body, "interval", 5), 1, 60);
    d->life = clamped(json_get_int(body, "expires_in", LIFE_MAX), 1, LIFE_MAX);
    say(body);
    return 0;
}

static int ask_once(const Device *d, json_t **ret, Err *err)
{
    CLEANUP_BUF Buf form = BUF_INIT((size_t)256 * 1024);
    form_add(&form, "grant_type", STR("urn:ietf:params:oauth:grant-type:device_code"));
    form_add(&form, "device_code", secret_reveal(d->code));
    return oidc_ask(d->flow->oidc, oidc_endpoint(d->flow->oidc, "token_endpoint"), &form, ret, err);
}

/* Not yet, or the issuer is briefly away: then ask less often, as RFC 8628 3.5 wants it. */
static bool go_on(Device *d, const Err *err)
{
    const char *code = oidc_error(d->flow->oidc);
    if (strcmp(code, "authorization_pending") == 0)
        return true;
    if (strcmp(code, "slow_down") == 0) {
        d->interval += 5;
        return true;
    }
    if (!err_info(err->code)->may_retry)
        return false;
    d->interval = clamped(d->interval * 2, 1, 60);
    return true;
}

static int await(Device *d, json_t **ret, Err *err)
{
    for (int64_t waited = 0; waited < d->life; waited += d->interval) {
        Err e = {0};
        wait_for(d->flow->loop, d->interval);
        if (ask_once(d, ret, &e) == 0)
            return 0;
        if (!go_on(d, &e))
            return err_set(err, e.code, "%s", e.msg);
    }
    return err_set(err, ERR_DEADLINE, "the code was not entered in time");
}

int login_device(const LoginFlow *f, OidcTokens *ret, Err *err)
{
    Device d = {.flow = f};
    CLEANUP_JSON json_t *body = NULL;
    int rc = begin(&d, err);
    if (rc == 0)
        rc = await(&d, &body, err);
    if (rc == 0)
        rc = oidc_tokens_read(body, ret, err);
    if (rc == 0 && ret->id) {
        IdTokenRules rules = {oidc_issuer(f->oidc), f->client_id, NULL, clock_wall(&clock_system)};
        rc = id_token_check(secret_reveal(ret->id), &rules, err);
        if (rc < 0)
            oidc_tokens_done(ret);
    }
    secret_free(d.code);
    return rc;
}
