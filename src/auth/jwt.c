#include "jwt-internal.h"
#include <math.h>
#include "base/mem.h"
#include "crypto/crypto.h"

#define HEADER_MAX ((size_t)4 << 10)

static int refuse(Err *err, const char *why)
{
    return err_set(err, ERR_UNAUTHENTICATED, "%s", why);
}

/* header.payload.signature */
static int split(Str token, Str part[3], Err *err)
{
    if (token.len > TOKEN_MAX)
        return refuse(err, "token is too long");
    size_t n = 0;
    for (Str rest = token; rest.ptr; n++) {
        Str piece = str_cut(&rest, '.');
        if (n < 3)
            part[n] = piece;
    }
    if (n != 3)
        return refuse(err, "token contains an invalid number of segments");
    for (size_t i = 0; i < 3; i++)
        if (!is_base64url(part[i]))
            return refuse(err, "token is malformed");
    return 0;
}

static int decode_object(Str part, size_t max, json_t **ret, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(max);
    CLEANUP_JSON json_t *j = NULL;
    if (base64_read(part, &text) < 0 || json_parse(buf_str(&text), &j, NULL) < 0 || !json_is_object(j))
        return refuse(err, "token is malformed");
    *ret = TAKE(j);
    return 0;
}

/* The signatures we accept: no shared secrets, no "none". */
static bool alg_ok(Str alg)
{
    static const char *const algs[] = {"RS256", "RS384", "RS512", "ES256", "EdDSA"};
    for (size_t i = 0; i < ARRAY_LEN(algs); i++)
        if (str_eqz(alg, algs[i]))
            return true;
    return false;
}

void jwt_head_done(JwtHead *h)
{
    free(h->kid);
    *h = (JwtHead){0};
}

int jwt_head(Str token, JwtHead *ret, Err *err)
{
    Str part[3];
    CLEANUP_JSON json_t *j = NULL;
    int rc = split(token, part, err);
    if (rc < 0 || (rc = decode_object(part[0], HEADER_MAX, &j, err)) < 0)
        return rc;
    Str alg = json_get_strv(j, "alg"), kid = json_get_strv(j, "kid");
    if (!alg_ok(alg))
        return err_set(err, ERR_UNAUTHENTICATED, "signing method " STR_FMT " is invalid",
                       STR_ARG(str_slice(alg, 0, 16)));
    if (json_object_get(j, "crit")) /* extensions that must be understood: we know none, RFC 7515 4.1.11 */
        return refuse(err, "token has critical extensions");
    if (!kid.len || kid.len > KID_MAX)
        return refuse(err, "token has no key id");
    JwtHead h = {.kid = str_dup(kid)};
    memcpy(h.alg, alg.ptr, alg.len);
    *ret = h;
    return 0;
}

static bool key_fits(const Jwk *key, const char *alg)
{
    if (key->alg && strcmp(key->alg, alg) != 0)
        return false;
    switch (key->type) {
    case JWK_P256:
        return strcmp(alg, "ES256") == 0;
    case JWK_ED25519:
        return strcmp(alg, "EdDSA") == 0;
    case JWK_RSA:
        break;
    }
    return alg[0] == 'R';
}

/* cjose reads the header by itself: what it acts on must be what we allowed. */
static bool same_alg(cjose_jws_t *jws, const char *alg)
{
    cjose_err why;
    const char *theirs = cjose_header_get(cjose_jws_get_protected(jws), CJOSE_HDR_ALG, &why);
    return theirs && strcmp(theirs, alg) == 0;
}

static void jws_releasep(cjose_jws_t **jws)
{
    cjose_jws_release(*jws);
}

static int verify_ed25519(Str token, const Jwk *key, json_t **ret_claims, Err *err)
{
    Str part[3];
    CLEANUP_BUF Buf signature = BUF_INIT(TOKEN_MAX);
    int rc = split(token, part, err);
    if (rc < 0)
        return rc;
    Str text = str_slice(token, 0, part[0].len + 1 + part[1].len);
    if (base64_read(part[2], &signature) < 0 || !ed25519_verify(key->ed25519, text, buf_str(&signature)))
        return refuse(err, "signature is invalid");
    return decode_object(part[1], TOKEN_MAX, ret_claims, err) < 0 ? refuse(err, "token claims are malformed")
                                                                  : 0;
}

int jwt_verify(Str token, const JwtHead *head, const Jwk *key, json_t **ret_claims, Err *err)
{
    cjose_err why;
    if (!key_fits(key, head->alg))
        return refuse(err, "signing method does not fit the key");
    if (key->type == JWK_ED25519)
        return verify_ed25519(token, key, ret_claims, err);
    CLEANUP(jws_releasep) cjose_jws_t *jws = cjose_jws_import(token.ptr, token.len, &why);
    if (!jws || !same_alg(jws, head->alg))
        return refuse(err, "token is malformed");
    if (!cjose_jws_verify(jws, key->key, &why))
        return refuse(err, "signature is invalid");
    uint8_t *payload;
    size_t len;
    CLEANUP_JSON json_t *claims = NULL;
    if (!cjose_jws_get_plaintext(jws, &payload, &len, &why) ||
        json_parse((Str){(char *)payload, len}, &claims, NULL) < 0 || !json_is_object(claims))
        return refuse(err, "token claims are malformed");
    *ret_claims = TAKE(claims);
    return 0;
}

/* A NumericDate, seconds with a fraction: 1 when there, 0 when not, -1 when it is something else. */
static int numeric_date(const json_t *claims, const char *name, double *ret)
{
    const json_t *v = json_object_get(claims, name);
    if (!v)
        return 0;
    if (!json_is_number(v) || !isfinite(json_number_value(v)))
        return -1;
    *ret = json_number_value(v);
    return 1;
}

static int check_times(const json_t *claims, WallUsec wall, Err *err)
{
    double now = (double)wall.us / (double)USEC_PER_SEC, exp, nbf, iat;
    int has_exp = numeric_date(claims, "exp", &exp), has_nbf = numeric_date(claims, "nbf", &nbf);
    int has_iat = numeric_date(claims, "iat", &iat);
    if (has_exp < 0 || has_nbf < 0 || has_iat < 0)
        return refuse(err, "token times are malformed");
    if (has_exp && now >= exp + JWT_LEEWAY_S)
        return refuse(err, "token is expired");
    if (has_nbf && now < nbf - JWT_LEEWAY_S)
        return refuse(err, "token is not valid yet");
    if (has_iat && now < iat - JWT_LEEWAY_S)
        return refuse(err, "token used before issued");
    return 0;
}

static bool in_list(const json_t *v, const char *list)
{
    Str value = json_is_string(v) ? (Str){json_string_value(v), json_string_length(v)} : STR_NULL;
    if (!value.len)
        return false;
    for (Str rest = str_from(list); rest.ptr;)
        if (str_eq(str_trim(str_cut(&rest, ',')), value))
            return true;
    return false;
}

/* "aud" is one string or an array of them. */
static bool audience_ok(const json_t *aud, const char *list)
{
    if (!json_is_array(aud))
        return in_list(aud, list);
    for (size_t i = 0; i < json_array_size(aud); i++)
        if (in_list(json_array_get(aud, i), list))
            return true;
    return false;
}

int jwt_check_claims(const json_t *claims, const JwtRules *rules, Err *err)
{
    int rc = check_times(claims, rules->now, err);
    if (rc < 0)
        return rc;
    if (rules->issuer && !in_list(json_object_get(claims, "iss"), rules->issuer))
        return refuse(err, "token has another issuer");
    if (rules->audience && !audience_ok(json_object_get(claims, "aud"), rules->audience))
        return refuse(err, "token is for another audience");
    return 0;
}
