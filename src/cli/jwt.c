#include "jwt.h"

#include "base/mem.h"
#include "client/jwt.h"

/* How far the issuer's clock may be off. */
#define SKEW 60

static char *claim(const json_t *claims, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        Str v = json_get_strv(claims, names[i]);
        if (v.len)
            return str_dup(v);
    }
    return NULL;
}

/* Numeric dates may have a fraction. */
static int64_t date_of(const json_t *claims, const char *name)
{
    const json_t *v = json_object_get(claims, name);
    double seconds = json_number_value(v);
    return seconds > 0 && seconds < 1e12 ? (int64_t)seconds : 0;
}

int jwt_read(Str token, Jwt *ret)
{
    static const char *const user[] = {"username", "preferred_username", "sub"};
    static const char *const subject[] = {"sub"}, *const email[] = {"email"};
    CLEANUP_JSON json_t *claims = jwt_claims(token);
    if (!claims)
        return -1;
    *ret = (Jwt){
        .username = claim(claims, user, ARRAY_LEN(user)),
        .subject = claim(claims, subject, 1),
        .email = claim(claims, email, 1),
        .exp.us = date_of(claims, "exp") * 1000000,
        .iat.us = date_of(claims, "iat") * 1000000,
    };
    return 0;
}

void jwt_done(Jwt *j)
{
    free(j->username);
    free(j->subject);
    free(j->email);
    *j = (Jwt){0};
}

/* ---- ID tokens ---- */

static bool issuer_is(Str got, const char *wanted)
{
    Str w = str_from(wanted);
    if (str_ends(got, STR("/")))
        got.len--;
    if (str_ends(w, STR("/")))
        w.len--;
    return got.len > 0 && str_eq(got, w);
}

/* One audience, or a list in which we are. */
static bool audience_has(const json_t *aud, const char *client_id)
{
    if (json_is_string(aud))
        return str_eqz(str_from(json_string_value(aud)), client_id);
    for (size_t i = 0; i < json_array_size(aud); i++) {
        const char *one = json_string_value(json_array_get(aud, i));
        if (one && str_eqz(str_from(one), client_id))
            return true;
    }
    return false;
}

static const char *id_token_fault(const json_t *claims, const IdTokenRules *r)
{
    const json_t *aud = json_object_get(claims, "aud");
    Str azp = json_get_strv(claims, "azp");
    int64_t now = r->now.us / 1000000, exp = date_of(claims, "exp"), iat = date_of(claims, "iat");
    if (!issuer_is(json_get_strv(claims, "iss"), r->issuer))
        return "another issuer made it";
    if (!json_get_strv(claims, "sub").len)
        return "it names no subject";
    if (!audience_has(aud, r->client_id))
        return "it is for another client";
    if (azp.len ? !str_eqz(azp, r->client_id) : json_array_size(aud) > 1)
        return "it was issued to another client";
    if (exp + SKEW <= now)
        return "it is expired";
    if (!iat || iat > now + SKEW)
        return "it was issued in the future";
    if (r->nonce && !str_eqz(json_get_strv(claims, "nonce"), r->nonce))
        return "it does not answer this login (nonce)";
    return NULL;
}

int id_token_check(Str token, const IdTokenRules *rules, Err *err)
{
    CLEANUP_JSON json_t *claims = jwt_claims(token);
    const char *fault = claims ? id_token_fault(claims, rules) : "it is no JWT";
    return fault ? err_set(err, ERR_UNAUTHENTICATED, "ID token: %s", fault) : 0;
}
