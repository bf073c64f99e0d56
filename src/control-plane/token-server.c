#include "token-server.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "json/json.h"
#include "token-review.h"

#define KEY_BITS 4096
#define KEY_FILE "private.pem"
#define RATE_WINDOW (60 * USEC_PER_SEC)
#define PLAIN_MIN 8

/* How often a session has asked in its present minute. */
typedef struct Meter {
    Usec since;
    unsigned n;
} Meter;

struct TokenServer {
    TokenServerOptions o;
    const Clock *clock;
    HttpServer *http;
    Map *meters; /* session id -> Meter, owned; only sessions that live here */
    Timer *sweep;
    TokenServerStats stats;
};

int token_key_load(const char *dir, RsaKey **ret, Err *err)
{
    CLEANUP_FREE char *path = path_join(dir, KEY_FILE);
    CLEANUP_BUF Buf pem = BUF_INIT(64 * 1024);
    int rc = dir_make(dir, 0700, err);
    if (rc < 0)
        return rc;
    rc = file_read(path, &pem, err);
    if (rc == 0) {
        rc = rsa_key_read_private(buf_str(&pem), ret, err);
        return rc < 0 ? err_wrap(err, "%s", path) : 0;
    }
    if (rc != -ERR_NOT_FOUND)
        return rc;
    CLEANUP(rsa_key_freep) RsaKey *key = NULL;
    log_info("making the key of the token endpoint", F_STR("file", path));
    rc = rsa_key_new(KEY_BITS, &key, err);
    if (rc == 0)
        rc = rsa_key_write_private(key, &pem, err);
    if (rc == 0)
        rc = file_write_atomic(path, buf_str(&pem), 0600, err);
    if (pem.data)
        secret_erase(pem.data, pem.len);
    if (rc == 0)
        *ret = TAKE(key);
    return rc;
}

/* ---- answers ---- */

static void reply_text(HttpReq *r, int status, const char *text)
{
    http_reply_header(r, "Content-Type", STR("text/plain; charset=utf-8"));
    http_reply_header(r, "X-Content-Type-Options", STR("nosniff"));
    CLEANUP_BUF Buf b = BUF_INIT(256);
    buf_addf(&b, "%s\n", text);
    http_reply_buf(r, status, &b);
}

static void reply_later(HttpReq *r, int status, const char *seconds, const char *text)
{
    http_reply_header(r, "Retry-After", str_from(seconds));
    reply_text(r, status, text);
}

static void reply_token(TokenServer *s, HttpReq *r, Str session)
{
    WallUsec expires = {0};
    char text[RFC3339_MAX];
    const Secret *token = s->o.token(s->o.arg, session, &expires);
    if (secret_is_empty(token)) {
        s->stats.unavailable++;
        reply_later(r, 503, "5", "no token");
        return;
    }
    CLEANUP_BUF Buf b = BUF_INIT(128 * 1024);
    buf_addz(&b, "{\"token\":");
    json_write_str_plain(&b, secret_reveal(token));
    Str until = expires.us ? rfc3339_format(expires, text) : STR("unknown");
    if (expires.us) {
        buf_addz(&b, ",\"expires_at\":");
        json_write_str_plain(&b, until);
    }
    buf_addz(&b, "}\n");
    log_info("token request: issued", F_STR("component", "tokenserver"), F_STRV("session_id", session),
             F_STR("peer", http_req_peer(r)), F_STRV("expires_at", until));
    s->stats.issued++;
    http_reply_header(r, "Content-Type", STR("application/json"));
    http_reply_header(r, "Cache-Control", STR("no-store"));
    http_reply(r, 200, buf_str(&b));
    secret_erase(b.data, b.len);
}

/* ---- the request ---- */

static bool is_padded_base64(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!isalnum((unsigned char)s.ptr[i]) && s.ptr[i] != '+' && s.ptr[i] != '/' && s.ptr[i] != '=')
            return false;
    return s.len > 0 && s.len % 4 == 0;
}

static int unseal(const TokenServer *s, Str authorization, Buf *plain)
{
    CLEANUP_BUF Buf sealed = BUF_INIT(4096);
    if (!str_starts(authorization, STR("Bearer ")))
        return -1;
    Str b64 = str_slice(authorization, 7, authorization.len);
    if (!is_padded_base64(b64) || base64_read(b64, &sealed) < 0)
        return -1;
    return s->o.open(s->o.arg, buf_str(&sealed), plain);
}

static bool is_id(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == ' ' || s.ptr[i] == '\t' || s.ptr[i] == '\r' || s.ptr[i] == '\n' || s.ptr[i] == '\0')
            return false;
    return s.len >= PLAIN_MIN;
}

static bool over_rate(TokenServer *s, Str session)
{
    Usec now = clock_now(s->clock);
    Meter *m = map_get(s->meters, session);
    if (!m) {
        m = xnew(Meter);
        m->since = now;
        map_put(s->meters, session, m);
    }
    if (now - m->since >= RATE_WINDOW)
        *m = (Meter){.since = now};
    return ++m->n > TOKEN_RATE;
}

static void refuse(TokenServer *s, HttpReq *r, Str session)
{
    bool shown = is_id(session) && session.len <= 64;
    log_warn("token request: refused", F_STR("component", "tokenserver"),
             F_STRV("session_id", shown ? session : STR("?")), F_STR("peer", http_req_peer(r)));
    s->stats.forbidden++;
    reply_text(r, 403, "forbidden");
}

static void reply_verdict(TokenServer *s, HttpReq *r, Str session, TokenVerdict v)
{
    switch (v) {
    case TOKEN_MAY:
        reply_token(s, r, session);
        break;
    case TOKEN_LATER:
        s->stats.unavailable++;
        reply_later(r, 503, "1", "not yet");
        break;
    case TOKEN_FORBIDDEN:
        refuse(s, r, session);
        break;
    default:
        s->stats.unauthorized++;
        reply_text(r, 401, "unauthorized");
    }
}

/* ---- a second look ---- */

typedef struct Asking {
    TokenServer *s;
    HttpReq *request;
    TokenReview *review;
    char session[];
} Asking;

static void on_gone(void *arg)
{
    Asking *a = arg;
    token_review_cancel(a->review);
    free(a);
}

/* Meanwhile the session may have ended. */
static void on_reviewed(void *arg, TokenVerdict v)
{
    Asking *a = arg;
    const TokenServerOptions *o = &a->s->o;
    Str session = str_from(a->session);
    a->review = NULL;
    if (v == TOKEN_MAY && o->may(o->arg, session, http_req_peer(a->request)) != TOKEN_REVIEW)
        v = TOKEN_FORBIDDEN;
    reply_verdict(a->s, a->request, session, v);
}

static void review(TokenServer *s, HttpReq *r, Str session)
{
    Str proof = http_req_header(r, "X-Ambient-SA-Token");
    if (!proof.len) {
        reply_verdict(s, r, session, TOKEN_UNPROVEN);
        return;
    }
    Asking *a = xcalloc(1, sizeof(*a) + session.len + 1);
    memcpy(a->session, session.ptr, session.len);
    a->s = s;
    a->request = r;
    http_req_set_user(r, a, on_gone);
    a->review = s->o.review(s->o.arg, session, proof, on_reviewed, a);
}

/* Somebody who may ask for this session, if it is one. */
static void handle_session(TokenServer *s, HttpReq *r, Str session)
{
    TokenVerdict v = is_id(session) ? s->o.may(s->o.arg, session, http_req_peer(r)) : TOKEN_FORBIDDEN;
    if (v == TOKEN_FORBIDDEN) {
        refuse(s, r, session);
    } else if (over_rate(s, session)) {
        s->stats.limited++;
        reply_later(r, 429, "60", "too many requests");
    } else if (v == TOKEN_REVIEW) {
        review(s, r, session);
    } else {
        reply_verdict(s, r, session, v);
    }
}

static void handle_token(TokenServer *s, HttpReq *r)
{
    CLEANUP_BUF Buf plain = BUF_INIT(4096);
    if (!str_eqz(http_req_method(r), "GET")) {
        s->stats.other++;
        reply_text(r, 405, "method not allowed");
    } else if (unseal(s, http_req_header(r, "Authorization"), &plain) < 0) {
        s->stats.unauthorized++;
        reply_text(r, 401, "unauthorized");
    } else {
        handle_session(s, r, buf_str(&plain));
    }
}

static void handle(void *arg, HttpReq *r)
{
    Str path = http_req_path(r);
    if (str_eqz(path, "/token"))
        handle_token(arg, r);
    else if (str_eqz(path, "/healthz"))
        http_reply(r, 200, STR("ok"));
    else
        reply_text(r, 404, "404 page not found");
}

/* ---- life ---- */

/* Meters whose minute is over say nothing. */
static void on_sweep(void *arg)
{
    TokenServer *s = arg;
    Usec now = clock_now(s->clock);
    MAP_FOREACH (s->meters, it) {
        if (now - ((Meter *)it.value)->since < RATE_WINDOW)
            continue;
        free(it.value);
        map_remove(s->meters, it.key);
    }
    timer_arm(s->sweep, RATE_WINDOW);
}

int token_server_new(Loop *l, const TokenServerOptions *o, TokenServer **ret, Err *err)
{
    TokenServer *s = xnew(TokenServer);
    HttpLimits limits = http_limits_default;
    limits.body_max = 4096;
    s->o = *o;
    s->clock = loop_clock(l);
    s->meters = map_new();
    s->sweep = timer_new(l, on_sweep, s);
    timer_arm(s->sweep, RATE_WINDOW);
    int rc = http_server_new(l, o->address, o->tls, &limits, handle, NULL, s, &s->http, err);
    if (rc < 0) {
        token_server_free(s);
        return err_wrap(err, "token endpoint");
    }
    *ret = s;
    return 0;
}

TokenServer *token_server_free(TokenServer *s)
{
    if (!s)
        return NULL;
    http_server_free(s->http);
    timer_free(s->sweep);
    MAP_FOREACH (s->meters, it)
        free(it.value);
    map_free(s->meters);
    free(s);
    return NULL;
}

const TokenServerStats *token_server_stats(const TokenServer *s)
{
    return &s->stats;
}

int token_server_port(const TokenServer *s)
{
    return http_server_port(s->http);
}
