#include "auth/auth.h"
#include "auth/session-token.h"
#include "base/mem.h"
#include "base/vec.h"
#include "claims-internal.h"
#include "jwt-internal.h"
#include "keys-internal.h"

#define KEY_SOURCES_MAX 8

struct Authenticator {
    bool jwt, authz;
    char *jwk_file, *issuer, *audience, *service_account, *dev_username;
    const Secret *service_token, *service_token_old, *admin_token; /* borrowed */
    Secret *session_key; /* NULL = there are no tokens of sessions */
    const Clock *clock;
    VEC_OF(char *)
    urls;
    VEC_OF(Keys *)
    keys; /* one per URL, the first with the file; none when JWT is off or has no source */
};

struct AuthWait {
    Authenticator *auth;
    Secret *token;
    JwtHead head;
    KeyWait *keys;
    size_t source; /* whose keys are waited for */
    Err failed;    /* of a source before it that could not be asked */
    AuthDone done;
    void *arg;
};

static char *dup_or_null(const char *s)
{
    return s && *s ? xstrdup(s) : NULL;
}

static bool has_static_token(const Authenticator *a)
{
    return !secret_is_empty(a->service_token) || !secret_is_empty(a->service_token_old) ||
           !secret_is_empty(a->admin_token);
}

/* "*" says that it may be anything. */
static char *dup_list(const char *s)
{
    return s && strcmp(s, "*") == 0 ? NULL : dup_or_null(s);
}

static void add_urls(Authenticator *a, const char *list)
{
    for (Str rest = str_from(list); rest.ptr;) {
        Str url = str_trim(str_cut(&rest, ','));
        if (url.len && a->urls.len < KEY_SOURCES_MAX)
            vec_push(&a->urls, str_dup(url));
    }
}

static int open_source(Authenticator *a, Loop *l, const char *file, const char *url, Err *err)
{
    Keys *k;
    KeysOptions o = keys_options_default;
    o.file = file;
    o.url = url;
    o.clock = a->clock;
    int rc = keys_new(l, &o, &k, err);
    if (rc == 0)
        vec_push(&a->keys, k);
    return rc;
}

static int open_keys(Authenticator *a, Loop *l, Err *err)
{
    if (!a->jwk_file && !a->urls.len) {
        if (has_static_token(a))
            return 0;
        return err_set(err, ERR_INVALID, "JWT is on, but there is neither a key source nor a static token");
    }
    int rc = open_source(a, l, a->jwk_file, a->urls.len ? a->urls.ptr[0] : NULL, err);
    for (size_t i = 1; rc == 0 && i < a->urls.len; i++)
        rc = open_source(a, l, NULL, a->urls.ptr[i], err);
    return rc;
}

int auth_new(Loop *l, const AuthOptions *o, Authenticator **ret, Err *err)
{
    Authenticator *a = xnew(Authenticator);
    *a = (Authenticator){
        .jwt = o->enable_jwt,
        .authz = o->enable_authz,
        .jwk_file = dup_or_null(o->jwk_file),
        .issuer = dup_list(o->issuer),
        .audience = dup_list(o->audience),
        .service_account = dup_or_null(o->service_account),
        .dev_username = xstrdup(o->dev_username && *o->dev_username ? o->dev_username : "dev-user"),
        .service_token = o->service_token,
        .service_token_old = o->service_token_old,
        .admin_token = o->admin_token,
        .clock = o->clock ? o->clock : &clock_system,
    };
    add_urls(a, o->jwk_urls);
    add_urls(a, o->more_jwk_urls);
    int rc = a->jwt ? open_keys(a, l, err) : 0;
    if (rc < 0) {
        auth_free(a);
        return rc;
    }
    *ret = a;
    return 0;
}

Authenticator *auth_free(Authenticator *a)
{
    if (!a)
        return NULL;
    VEC_FOREACH (&a->keys, k)
        keys_free(*k);
    VEC_FOREACH (&a->urls, url)
        free(*url);
    vec_free(&a->keys);
    vec_free(&a->urls);
    secret_free(a->session_key);
    free(a->jwk_file);
    free(a->issuer);
    free(a->audience);
    free(a->service_account);
    free(a->dev_username);
    free(a);
    return NULL;
}

bool auth_is_open(const Authenticator *a)
{
    return !a->jwt && !has_static_token(a);
}

/* ---- who it is ---- */

static Caller *person(const Authenticator *a, CallerInfo *i)
{
    i->type = a->authz ? CALLER_USER : CALLER_ADMIN;
    i->authz_off = !a->authz;
    return caller_make(i);
}

/*
 * The platform's own account. A client's id stands in a token of its own only (client_id, or clientId); its
 * name "service-account-<client>" counts when the token was made for that client by an issuer that we ask
 * for. The bare name is a name that people may choose, and is nobody's.
 */
static bool is_service_account(const Authenticator *a, const json_t *claims, Str username)
{
    Str prefix = STR("service-account-");
    if (!a->service_account)
        return false;
    if (str_eqz(json_get_strv(claims, "client_id"), a->service_account) ||
        str_eqz(json_get_strv(claims, "clientId"), a->service_account))
        return true;
    Str azp = json_get_strv(claims, "azp");
    bool named = str_starts(username, prefix) &&
                 str_eqz(str_slice(username, prefix.len, username.len), a->service_account);
    return named && (azp.len ? str_eqz(azp, a->service_account) : a->issuer != NULL);
}

static Caller *service_account(const Authenticator *a)
{
    return caller_make(&(CallerInfo){.type = CALLER_SERVICE,
                                     .username = str_from(a->service_account),
                                     .issuer = STR(AUTH_ISSUER_OWN),
                                     .subject = str_from(a->service_account),
                                     .authz_off = !a->authz});
}

/* An issuer's person of that name would meet what the administrator owns, or keep its token out. */
static bool is_own_name(const Authenticator *a, Str username)
{
    return !secret_is_empty(a->admin_token) && str_eqz(username, a->dev_username);
}

/* Who needs no token of an issuer: development's user, and whoever has the administrator's token. */
static Caller *own_user(const Authenticator *a, bool admin)
{
    Str name = str_from(a->dev_username);
    CallerInfo i = {.username = name, .issuer = STR(AUTH_ISSUER_OWN), .subject = name};
    if (admin) {
        i.type = CALLER_ADMIN;
        return caller_make(&i);
    }
    i.name = name;
    return person(a, &i);
}

static int caller_from_claims(const Authenticator *a, const json_t *claims, Caller **ret, Err *err)
{
    Str username = claims_username(claims);
    if (!username.len)
        return err_set(err, ERR_UNAUTHENTICATED, "token missing username claim");
    if (str_eqz(claims_plain(claims, "iss"), AUTH_ISSUER_OWN))
        return err_set(err, ERR_UNAUTHENTICATED, "invalid token: token has another issuer");
    if (is_own_name(a, username))
        return err_set(err, ERR_UNAUTHENTICATED, "invalid token: its username is reserved");
    CLEANUP_BUF Buf name = BUF_INIT(1024);
    claims_name(claims, &name);
    CallerInfo i = {
        .username = username,
        .name = buf_str(&name),
        .email = claims_email(claims),
        .issuer = claims_plain(claims, "iss"),
        .subject = claims_plain(claims, "sub"),
    };
    *ret = is_service_account(a, claims, username) ? service_account(a) : person(a, &i);
    return 0;
}

static int invalid(Err *err)
{
    err_wrap(err, "invalid token");
    return -ERR_UNAUTHENTICATED;
}

static int caller_from_token(const Authenticator *a, Str token, const JwtHead *head, const Jwk *key,
                             Caller **ret, Err *err)
{
    CLEANUP_JSON json_t *claims = NULL;
    const JwtRules rules = {a->issuer, a->audience, clock_wall(a->clock)};
    if (jwt_verify(token, head, key, &claims, err) < 0 || jwt_check_claims(claims, &rules, err) < 0)
        return invalid(err);
    return caller_from_claims(a, claims, ret, err);
}

/* ---- waiting for keys ---- */

static void wait_free(AuthWait *w)
{
    secret_free(w->token);
    jwt_head_done(&w->head);
    free(w);
}

/* Asks the next source; 0: on_key() follows. A source that cannot be asked may be the one that has the key.
 */
static int wait_next(AuthWait *w, Err *err);

static void on_key(void *arg, const Jwk *key, const Err *key_err)
{
    AuthWait *w = arg;
    Caller *caller = NULL;
    Err err = {0};
    w->keys = NULL;
    if (key) {
        caller_from_token(w->auth, secret_reveal(w->token), &w->head, key, &caller, &err);
    } else {
        if (key_err->code != ERR_UNAUTHENTICATED)
            w->failed = *key_err;
        w->source++;
        if (wait_next(w, &err) == 0)
            return;
    }
    AuthDone done = w->done;
    void *done_arg = w->arg;
    wait_free(w);
    done(done_arg, caller, caller ? NULL : &err);
}

static int wait_next(AuthWait *w, Err *err)
{
    Authenticator *a = w->auth;
    for (; w->source < a->keys.len; w->source++) {
        Err why = {0};
        if (keys_wait(a->keys.ptr[w->source], str_from(w->head.kid), on_key, w, &w->keys, &why) == 0)
            return 0;
        if (why.code != ERR_UNAUTHENTICATED)
            w->failed = why;
    }
    if (w->failed.code)
        return err_set(err, w->failed.code, "%s", w->failed.msg);
    err_set(err, ERR_UNAUTHENTICATED, "signing key is not known");
    return invalid(err);
}

void auth_cancel(AuthWait *w)
{
    if (!w)
        return;
    keys_wait_cancel(w->keys);
    wait_free(w);
}

static int wait_for_key(Authenticator *a, Str token, JwtHead *head, AuthDone done, void *arg, AuthWait **ret,
                        Err *err)
{
    AuthWait *w = xnew(AuthWait);
    *w = (AuthWait){.auth = a, .head = *head, .done = done, .arg = arg};
    *head = (JwtHead){0};
    VEC_FOREACH (&a->keys, k) /* all at once, so that the wait is not as many times as long */
        keys_look(*k, str_from(w->head.kid));
    int rc = wait_next(w, err);
    if (rc < 0) {
        wait_free(w);
        return rc;
    }
    w->token = secret_new(token);
    *ret = w;
    return 0;
}

static const Jwk *find_key(Authenticator *a, Str kid)
{
    const Jwk *key = NULL;
    for (size_t i = 0; i < a->keys.len && !key; i++)
        key = keys_find(a->keys.ptr[i], kid);
    return key;
}

static int check_jwt(Authenticator *a, Str token, AuthDone done, void *arg, Caller **ret_now,
                     AuthWait **ret_wait, Err *err)
{
    CLEANUP(jwt_head_done) JwtHead head = {0};
    if (jwt_head(token, &head, err) < 0)
        return invalid(err);
    const Jwk *key = find_key(a, str_from(head.kid));
    if (!key)
        return wait_for_key(a, token, &head, done, arg, ret_wait, err);
    int rc = caller_from_token(a, token, &head, key, ret_now, err);
    return rc < 0 ? rc : 1;
}

/* ---- sessions ---- */

void auth_set_session_key(Authenticator *a, const Secret *key)
{
    secret_free(a->session_key);
    a->session_key = secret_new(secret_reveal(key));
}

static int check_session(const Authenticator *a, Str token, Caller **ret, Err *err)
{
    SessionToken t;
    if (session_token_read(a->session_key, token, clock_wall(a->clock), &t, err) < 0)
        return invalid(err);
    *ret = caller_make(&(CallerInfo){
        .type = CALLER_SESSION, .session_id = str_from(t.session_id), .run_id = str_from(t.run_id)});
    return 1;
}

/* ---- the header ---- */

/* "Bearer x" in any case of the word, or x alone as some gRPC clients send it. */
static Str token_of(Str authorization)
{
    Str scheme = STR("bearer ");
    Str s = str_trim(authorization);
    if (str_istarts(s, scheme))
        s = str_trim(str_slice(s, scheme.len, s.len));
    else if (str_find_byte(s, ' ') >= 0 || str_ieq(s, STR("bearer")))
        s = STR(""); /* another scheme */
    return s;
}

/* All comparisons always run. */
static Caller *static_caller(const Authenticator *a, Str token)
{
    bool service = secret_equals(a->service_token, token), old = secret_equals(a->service_token_old, token);
    bool admin = secret_equals(a->admin_token, token);
    if (admin)
        return own_user(a, true);
    return service || old ? caller_make(&(CallerInfo){.type = CALLER_SERVICE, .authz_off = !a->authz}) : NULL;
}

int auth_check(Authenticator *a, Str authorization, AuthDone done, void *arg, Caller **ret_now,
               AuthWait **ret_wait, Err *err)
{
    Err why = {0}; /* causes are looked at, so they must be there */
    Str token = token_of(authorization);
    if (a->session_key && session_token_looks_like(token)) {
        int found = check_session(a, token, ret_now, &why);
        return found < 0 ? err_set(err, why.code, "%s", why.msg) : found;
    }
    if (auth_is_open(a)) {
        *ret_now = own_user(a, false);
        return 1;
    }
    if (!token.len)
        return err_set(err, ERR_UNAUTHENTICATED, "missing authorization token");
    if (token.len > AUTH_TOKEN_MAX)
        return err_set(err, ERR_UNAUTHENTICATED, "invalid token: token is too long");
    Caller *known = static_caller(a, token);
    if (known) {
        *ret_now = known;
        return 1;
    }
    if (!a->keys.len)
        return err_set(err, ERR_UNAUTHENTICATED, "invalid token: it is not known here");
    int rc = check_jwt(a, token, done, arg, ret_now, ret_wait, &why);
    return rc < 0 ? err_set(err, why.code, "%s", why.msg) : rc;
}
