#include "renew.h"

#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "jwt.h"
#include "oidc.h"

#define LOCK_POLL (50 * USEC_PER_MSEC)
#define LOCK_WAIT (60 * USEC_PER_SEC)
#define LAST_MINUTE (60 * (int64_t)USEC_PER_SEC)

static const char *text_of(const Config *c, const char *key)
{
    return config_get(c, key, NULL);
}

static bool is_service(const Config *c)
{
    const char *how = text_of(c, "login_method");
    return how && strcmp(how, "client-credentials") == 0;
}

/* The client's secret is never stored; what is stored is where it is. */
static int client_secret(const Config *c, Secret **ret, Err *err)
{
    const char *file = text_of(c, "client_secret_file");
    *ret = secret_from_env("AMBIENT_CLIENT_SECRET");
    if (*ret || !file)
        return 0;
    int rc = secret_from_file(file, ret, err);
    return rc < 0 ? err_wrap(err, "client secret") : 0;
}

bool renew_possible(const Config *c)
{
    ConfigSource source;
    if (!config_get(c, "access_token", &source) || source != CONFIG_FILE)
        return false;
    if (!text_of(c, "issuer_url") || !text_of(c, "client_id"))
        return false;
    return text_of(c, "refresh_token") ||
           (is_service(c) && (text_of(c, "client_secret_file") || getenv("AMBIENT_CLIENT_SECRET")));
}

static bool stored_time(const Config *c, const char *key, WallUsec *ret)
{
    const char *text = text_of(c, key);
    return text && rfc3339_parse(str_from(text), ret) == 0;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* 80 % of the life, but at least a minute before its end. */
static WallUsec renewal_time(WallUsec start, WallUsec end)
{
    return (WallUsec){smaller(start.us + (end.us - start.us) / 5 * 4, end.us - LAST_MINUTE)};
}

/* Times that were stored at the login come from this machine's clock; a token of another program only has its
 * own. */
static void times_of(const Config *c, WallUsec *renew, WallUsec *end)
{
    Jwt jwt = {0};
    const char *token = text_of(c, "access_token");
    *renew = *end = (WallUsec){INT64_MAX};
    if (stored_time(c, "token_expires_at", end) && stored_time(c, "token_renew_at", renew))
        return;
    if (!token || jwt_read(str_from(token), &jwt) < 0)
        return;
    if (jwt.exp.us) {
        *end = jwt.exp;
        *renew = renewal_time(jwt.iat.us ? jwt.iat : jwt.exp, jwt.exp);
    }
    jwt_done(&jwt);
}

WallUsec renew_at(const Config *c)
{
    WallUsec renew, end;
    times_of(c, &renew, &end);
    return renew;
}

WallUsec renew_end(const Config *c)
{
    WallUsec renew, end;
    times_of(c, &renew, &end);
    return end;
}

static void set_secret(Config *c, const char *key, const Secret *s)
{
    CLEANUP_FREE char *text = str_dup(secret_reveal(s));
    config_set(c, key, text);
    secret_erase(text, strlen(text));
}

static void set_time(Config *c, const char *key, WallUsec t)
{
    char text[RFC3339_MAX];
    (void)rfc3339_format(t, text);
    config_set(c, key, text);
}

void renew_store(Config *c, const OidcTokens *t, WallUsec now)
{
    Jwt jwt = {0};
    int64_t life = t->expires_in;
    if (!life && jwt_read(secret_reveal(t->access), &jwt) == 0 && jwt.exp.us > now.us)
        life = (jwt.exp.us - now.us) / 1000000;
    jwt_done(&jwt);
    set_secret(c, "access_token", t->access);
    if (t->refresh)
        set_secret(c, "refresh_token", t->refresh);
    if (life) {
        WallUsec end = {now.us + life * 1000000};
        set_time(c, "token_expires_at", end);
        set_time(c, "token_renew_at", renewal_time(now, end));
    } else {
        config_set(c, "token_expires_at", NULL);
        config_set(c, "token_renew_at", NULL);
    }
}

void renew_forget(Config *c)
{
    static const char *const gone[] = {"access_token", "refresh_token",      "issuer_url",
                                       "client_id",    "client_secret_file", "login_method",
                                       "scopes",       "token_renew_at",     "token_expires_at"};
    for (size_t i = 0; i < ARRAY_LEN(gone); i++)
        config_set(c, gone[i], NULL);
}

/* ---- renewing ---- */

struct Renewal {
    Loop *loop;
    Config *cfg;
    Secret *stale;         /* the token that shall be replaced */
    Secret *client_secret; /* may be NULL */
    Oidc *oidc;
    Timer *step;
    Usec started;
    int lock;
    RenewDone done;
    void *arg;
};

Renewal *renewal_free(Renewal *r)
{
    if (!r)
        return NULL;
    oidc_free(r->oidc);
    timer_free(r->step);
    secret_free(r->stale);
    secret_free(r->client_secret);
    if (r->lock >= 0)
        close(r->lock);
    free(r);
    return NULL;
}

/* The owner may free the renewal in its callback. */
static void finish(Renewal *r, int rc, const Err *err)
{
    r->done(r->arg, rc < 0 ? err : NULL);
}

static int refused(const Err *why, Err *err)
{
    if (why->code != ERR_UNAUTHENTICATED)
        return err_set(err, why->code, "the login cannot be renewed: %s", why->msg);
    Str text = str_from(why->msg);
    if (str_starts(text, STR("token endpoint: ")))
        text = str_slice(text, strlen("token endpoint: "), text.len);
    return err_set(err, why->code, "session expired (" STR_FMT "); run 'acpctl login'", STR_ARG(text));
}

static int store(Renewal *r, const json_t *body, Err *err)
{
    OidcTokens t = {0};
    Err e = {0};
    int rc = oidc_tokens_read(body, &t, err);
    if (rc < 0)
        return rc;
    renew_store(r->cfg, &t, clock_wall(&clock_system));
    oidc_tokens_done(&t);
    if (config_save(r->cfg, &e) < 0) /* this command can go on with what it has in memory */
        fprintf(stderr, "warning: failed to persist refreshed token: %s\n", e.msg);
    return 0;
}

static void on_tokens(void *arg, json_t *body, const Err *failed)
{
    Renewal *r = arg;
    Err err = {0};
    int rc = failed ? refused(failed, &err) : store(r, body, &err);
    finish(r, rc, &err);
}

static void on_discovery(void *arg, const Err *failed)
{
    Renewal *r = arg;
    Err err = {0};
    if (failed) {
        finish(r, refused(failed, &err), &err);
        return;
    }
    CLEANUP_BUF Buf form = BUF_INIT((size_t)1 << 20);
    const char *refresh = text_of(r->cfg, "refresh_token"), *scopes = text_of(r->cfg, "scopes");
    if (is_service(r->cfg)) {
        form_add(&form, "grant_type", STR("client_credentials"));
        if (scopes)
            form_add(&form, "scope", str_from(scopes));
    } else {
        form_add(&form, "grant_type", STR("refresh_token"));
        form_add(&form, "refresh_token", str_from(refresh));
    }
    oidc_post(r->oidc, oidc_endpoint(r->oidc, "token_endpoint"), &form, on_tokens, r);
}

static int ask(Renewal *r, Err *err)
{
    int rc = client_secret(r->cfg, &r->client_secret, err);
    OidcOptions o = {text_of(r->cfg, "issuer_url"), text_of(r->cfg, "client_id"), r->client_secret,
                     text_of(r->cfg, "ca_file")};
    if (rc == 0)
        rc = oidc_new(r->loop, &o, &r->oidc, err);
    if (rc == 0)
        oidc_discover(r->oidc, on_discovery, r);
    return rc;
}

/* With the lock held: perhaps somebody else has done it meanwhile. */
static void locked(Renewal *r)
{
    Err err = {0};
    int rc = config_reload(r->cfg, &err);
    const char *token = text_of(r->cfg, "access_token");
    if (rc == 0 && token && !secret_equals(r->stale, str_from(token))) {
        finish(r, 0, NULL);
        return;
    }
    if (rc == 0 && !renew_possible(r->cfg))
        rc = err_set(&err, ERR_UNAUTHENTICATED, "session expired (logged out); run 'acpctl login'");
    if (rc == 0)
        rc = ask(r, &err);
    if (rc < 0)
        finish(r, rc, &err);
}

static void try_lock(void *arg)
{
    Renewal *r = arg;
    Err err = {0};
    CLEANUP_FREE char *path = xasprintf("%s.login.lock", config_path(r->cfg));
    int rc = file_lock(path, &r->lock, &err);
    if (rc == 0)
        locked(r);
    else if (rc == -ERR_CONFLICT && usec_sub(loop_now(r->loop), r->started) < LOCK_WAIT)
        timer_arm(r->step, LOCK_POLL);
    else
        finish(r, err_wrap(&err, "the login cannot be renewed"), &err);
}

Renewal *renewal_start(Loop *l, Config *c, RenewDone done, void *arg)
{
    Renewal *r = xnew(Renewal);
    r->loop = l;
    r->cfg = c;
    r->lock = -1;
    r->done = done;
    r->arg = arg;
    r->started = loop_now(l);
    r->stale = secret_new(str_from(text_of(c, "access_token")));
    r->step = timer_new(l, try_lock, r);
    timer_arm(r->step, 0);
    return r;
}
