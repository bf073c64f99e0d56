#include "jwk-internal.h"
#include "base/mem.h"
#include "base/vec.h"
#include "json/json.h"

#define KEYS_MAX 256
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192

struct JwkSet {
    VEC_OF(Jwk)
    keys;
};

JwkSet *jwk_set_free(JwkSet *s)
{
    if (!s)
        return NULL;
    VEC_FOREACH (&s->keys, k) {
        if (k->key)
            cjose_jwk_release(k->key);
        free(k->kid);
        free(k->alg);
    }
    vec_free(&s->keys);
    free(s);
    return NULL;
}

bool is_base64url(Str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
              c == '_'))
            return false;
    }
    return s.len > 0 && s.len % 4 != 1;
}

static bool is_rsa_alg(Str alg)
{
    return str_eqz(alg, "RS256") || str_eqz(alg, "RS384") || str_eqz(alg, "RS512");
}

/* Says what a key is for by its own account: type, and that it may verify signatures. */
static bool is_wanted(const json_t *j, JwkType *ret)
{
    Str kty = json_get_strv(j, "kty"), alg = json_get_strv(j, "alg"), use = json_get_strv(j, "use");
    if (use.ptr && !str_eqz(use, "sig"))
        return false;
    if (str_eqz(kty, "RSA")) {
        *ret = JWK_RSA;
        return !alg.ptr || is_rsa_alg(alg);
    }
    if (str_eqz(kty, "EC") && str_eqz(json_get_strv(j, "crv"), "P-256")) {
        *ret = JWK_P256;
        return !alg.ptr || str_eqz(alg, "ES256");
    }
    if (str_eqz(kty, "OKP") && str_eqz(json_get_strv(j, "crv"), "Ed25519")) { /* RFC 8037 */
        *ret = JWK_ED25519;
        return !alg.ptr || str_eqz(alg, "EdDSA");
    }
    return false;
}

static bool is_number(const json_t *j, const char *name)
{
    return is_base64url(json_get_strv(j, name));
}

/* The public parts of the key, each of them sound. NULL when they are not. */
static json_t *public_part(const json_t *j, JwkType type)
{
    static const char *const rsa[] = {"n", "e"}, *const ec[] = {"x", "y"};
    const char *const *names = type == JWK_RSA ? rsa : ec;
    if (!is_number(j, names[0]) || !is_number(j, names[1]))
        return NULL;
    json_t *pub = json_pack("{s:O, s:O, s:O}", "kty", json_object_get(j, "kty"), names[0],
                            json_object_get(j, names[0]), names[1], json_object_get(j, names[1]));
    if (pub && type == JWK_P256)
        json_object_set(pub, "crv", json_object_get(j, "crv"));
    return pub;
}

static cjose_jwk_t *import_key(const json_t *j, JwkType type)
{
    cjose_err why;
    CLEANUP_JSON json_t *pub = public_part(j, type);
    CLEANUP_FREE char *text = pub ? json_dumps(pub, JSON_COMPACT) : NULL;
    cjose_jwk_t *key = text ? cjose_jwk_import(text, strlen(text), &why) : NULL;
    if (!key || type != JWK_RSA)
        return key;
    size_t bits = cjose_jwk_get_keysize(key, &why);
    if (bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX)
        return key;
    cjose_jwk_release(key);
    return NULL;
}

static bool read_ed25519(const json_t *j, uint8_t out[static ED25519_KEY_LEN])
{
    CLEANUP_BUF Buf x = BUF_INIT(ED25519_KEY_LEN + 2);
    Str text = json_get_strv(j, "x");
    if (!is_base64url(text) || base64_read(text, &x) < 0 || x.len != ED25519_KEY_LEN)
        return false;
    memcpy(out, x.data, ED25519_KEY_LEN);
    return true;
}

static void add_key(JwkSet *s, const json_t *j)
{
    JwkType type;
    Str kid = json_get_strv(j, "kid"), alg = json_get_strv(j, "alg");
    if (!kid.len || kid.len > KID_MAX || jwk_set_find(s, kid) || !is_wanted(j, &type))
        return;
    Jwk k = {.type = type};
    bool good = type == JWK_ED25519 ? read_ed25519(j, k.ed25519) : (k.key = import_key(j, type)) != NULL;
    if (!good)
        return;
    k.kid = str_dup(kid);
    k.alg = alg.ptr ? str_dup(alg) : NULL;
    vec_push(&s->keys, k);
}

int jwk_set_parse(Str text, JwkSet **ret, Err *err)
{
    CLEANUP_JSON json_t *j = NULL;
    int rc = json_parse(text, &j, err);
    if (rc < 0)
        return rc;
    const json_t *keys = json_get_arr(j, "keys");
    if (!keys)
        return err_set(err, ERR_MALFORMED, "not a JWK set");
    if (json_array_size(keys) > KEYS_MAX)
        return err_set(err, ERR_MALFORMED, "more than %d keys", KEYS_MAX);
    CLEANUP(jwk_set_freep) JwkSet *s = xnew(JwkSet);
    for (size_t i = 0; i < json_array_size(keys); i++)
        add_key(s, json_array_get(keys, i));
    if (!s->keys.len)
        return err_set(err, ERR_MALFORMED,
                       "no RSA (2048 bits or more), P-256 or Ed25519 key with a kid among %zu keys",
                       json_array_size(keys));
    *ret = TAKE(s);
    return 0;
}

const Jwk *jwk_set_find(const JwkSet *s, Str kid)
{
    for (size_t i = 0; s && i < s->keys.len; i++)
        if (str_eqz(kid, s->keys.ptr[i].kid))
            return &s->keys.ptr[i];
    return NULL;
}

size_t jwk_set_len(const JwkSet *s)
{
    return s ? s->keys.len : 0;
}
