#include "auth/auth.h"
#include "base/mem.h"
#include "claims-internal.h"
#include "jwt-internal.h"
#include "keys-internal.h"

struct Authenticator {
    bool jwt, authz;
    char *jwk_file, *jwk_url, *issuer, *audience, *service_account, *dev_username;
    const Secret *service_token, *admin_token; /* borrowed */
    const Clock *clock;
    Keys *keys; /* NULL when JWT is off or has no source */
};

struct AuthWait {
    Authenticator *auth;
    Secret *token;
    JwtHead head;
    KeyWait *keys;
    AuthDone done;
    void *arg;
};

static char *dup_or_null(const char *s)
{
    return s && *s ? xstrdup(s) : NULL;
}

static bool has_static_token(const Authenticator *a)
{
    return !secret_is_empty(a->service_token) || !secret_is_empty(a->admin_token);
}

static int open_keys(Authenticator *a, Loop *l, Err *err)
{
    if (!a->jwk_file && !a->jwk_url) {
        if (has_static_token(a))
            return 0;
        return err_set(err, ERR_INVALID, "JWT is on, but there is neither a key source nor a static token");
    }
    KeysOptions o = keys_options_default;
    o.file = a->jwk_file;
    o.url = a->jwk_url;
    o.clock = a->clock;
    return keys_new(l, &o, &a->keys, err);
}

int auth_new(Loop *l, const AuthOptions *o, Authenticator **ret, Err *err)
{
    Authenticator *a = xnew(Authenticator);
    *a = (Authenticator){
        .jwt = o->enable_jwt,
        .authz = o->enable_authz,
        .jwk_file = dup_or_null(o->jwk_file),
        .jwk_url = dup_or_null(o->jwk_url),
        .issuer = dup_or_null(o->issuer),
        .audience = dup_or_null(o->audience),
        .service_account = dup_or_null(o->service_account),
        .dev_username = xstrdup(o->dev_username && *o->dev_username ? o->dev_username : "dev-user"),
        .service_token = o->service_token,
        .admin_token = o->admin_token,
        .clock = o->clock ? o->clock : &clock_system,
    };
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
    keys_free(a->keys);
    free(a->jwk_file);
    free(a->jwk_url);
    free(a->issuer);
    free(a->audience);
    free(a->service_account);
    free(a->dev_username);
    free(a);
    return NULL;
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

static void on_key(void *arg, const Jwk *key, const Err *key_err)
{
    AuthWait *w = arg;
    Caller *caller = NULL;
    Err err = key_err ? *key_err : (Err){0};
    if (key)
        caller_from_token(w->auth, secret_reveal(w->token), &w->head, key, &caller, &err);
    else if (err.code == ERR_UNAUTHENTICATED)
        invalid(&err);
    AuthDone done = w->done;
    void *done_arg = w->arg;
    wait_free(w);
    done(done_arg, caller, caller ? NULL : &err);
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
    int rc = keys_wait(a->keys, str_from(w->head.kid), on_key, w, &w->keys, err);
    if (rc < 0) {
        wait_free(w);
        return rc == -ERR_UNAUTHENTICATED ? invalid(err) : rc;
    }
    w->token = secret_new(token);
    *ret = w;
    return 0;
}

static int check_jwt(Authenticator *a, Str token, AuthDone done, void *arg, Caller **ret_now,
                     AuthWait **ret_wait, Err *err)
{
    CLEANUP(jwt_head_done) JwtHead head = {0};
    if (jwt_head(token, &head, err) < 0)
        return invalid(err);
    const Jwk *key = keys_find(a->keys, str_from(head.kid));
    if (!key)
        return wait_for_key(a, token, &head, done, arg, ret_wait, err);
    int rc = caller_from_token(a, token, &head, key, ret_now, err);
    return rc < 0 ? rc : 1;
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

/* Both comparisons always run. */
static Caller *static_caller(const Authenticator *a, Str token)
{
    bool service = secret_equals(a->service_token, token);
    bool admin = secret_equals(a->admin_token, token);
    if (admin)
        return own_user(a, true);
    return service ? caller_make(&(CallerInfo){.type = CALLER_SERVICE, .authz_off = !a->authz}) : NULL;
}

int auth_check(Authenticator *a, Str authorization, AuthDone done, void *arg, Caller **ret_now,
               AuthWait **ret_wait, Err *err)
{
    Err why = {0}; /* causes are looked at, so they must be there */
    if (!a->jwt && !has_static_token(a)) {
        *ret_now = own_user(a, false);
        return 1;
    }
    Str token = token_of(authorization);
    if (!token.len)
        return err_set(err, ERR_UNAUTHENTICATED, "missing authorization token");
    if (token.len > AUTH_TOKEN_MAX)
        return err_set(err, ERR_UNAUTHENTICATED, "invalid token: token is too long");
    Caller *known = static_caller(a, token);
    if (known) {
        *ret_now = known;
        return 1;
    }
    if (!a->keys)
        return err_set(err, ERR_UNAUTHENTICATED, "invalid token: it is not known here");
    int rc = check_jwt(a, token, done, arg, ret_now, ret_wait, &why);
    return rc < 0 ? err_set(err, why.code, "%s", why.msg) : rc;
}
