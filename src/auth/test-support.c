#include "test-internal.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include "base/file.h"
#include "crypto/crypto.h"

static EVP_PKEY *keys[_TEST_KEY_MAX];

static EVP_PKEY *make_key(TestKey which)
{
    switch (which) {
    case KEY_RSA:
    case KEY_RSA_OTHER:
        return EVP_RSA_gen(2048);
    case KEY_RSA_1024:
        return EVP_RSA_gen(1024);
    case KEY_EC:
        return EVP_EC_gen("P-256");
    case KEY_EC_384:
        return EVP_EC_gen("P-384");
    case KEY_ED25519:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    case _TEST_KEY_MAX:
        break;
    }
    return NULL;
}

EVP_PKEY *test_key(TestKey which)
{
    if (!keys[which])
        keys[which] = make_key(which);
    assert_non_null(keys[which]);
    return keys[which];
}

void test_keys_done(void)
{
    for (int i = 0; i < _TEST_KEY_MAX; i++)
        EVP_PKEY_free(keys[i]);
}

/* ,"n":"<number>" padded to `len` bytes, 0 = as long as it is */
static void add_number(Buf *b, EVP_PKEY *key, const char *param, const char *name, int len)
{
    BIGNUM *bn = NULL;
    uint8_t bytes[1024];
    assert_int_equal(EVP_PKEY_get_bn_param(key, param, &bn), 1);
    if (!len)
        len = BN_num_bytes(bn);
    assert_int_equal(BN_bn2binpad(bn, bytes, len), len);
    buf_addf(b, ",\"%s\":\"", name);
    base64url_write(b, bytes, (size_t)len);
    buf_addc(b, '"');
    BN_free(bn);
}

static char *test_okp(EVP_PKEY *key, const char *kid, const char *extra)
{
    Buf b = BUF_INIT(8192);
    uint8_t x[ED25519_KEY_LEN];
    size_t len = sizeof(x);
    assert_int_equal(EVP_PKEY_get_raw_public_key(key, x, &len), 1);
    buf_addf(&b, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"%s\",\"x\":\"", kid);
    base64url_write(&b, x, len);
    buf_addf(&b, "\"%s}", extra ? extra : "");
    return buf_take(&b);
}

char *test_jwk(TestKey which, const char *kid, const char *extra)
{
    Buf b = BUF_INIT(8192);
    EVP_PKEY *key = test_key(which);
    if (which == KEY_ED25519)
        return test_okp(key, kid, extra);
    bool ec = which == KEY_EC || which == KEY_EC_384;
    buf_addf(&b, "{\"kty\":\"%s\",\"kid\":\"%s\"", ec ? "EC" : "RSA", kid);
    if (ec) {
        int len = which == KEY_EC ? 32 : 48;
        buf_addf(&b, ",\"crv\":\"%s\"", which == KEY_EC ? "P-256" : "P-384");
        add_number(&b, key, OSSL_PKEY_PARAM_EC_PUB_X, "x", len);
        add_number(&b, key, OSSL_PKEY_PARAM_EC_PUB_Y, "y", len);
    } else {
        add_number(&b, key, OSSL_PKEY_PARAM_RSA_N, "n", 0);
        add_number(&b, key, OSSL_PKEY_PARAM_RSA_E, "e", 0);
    }
    buf_addf(&b, "%s}", extra ? extra : "");
    return buf_take(&b);
}

char *test_jwks(char *a, char *b)
{
    char *set = xasprintf("{\"keys\":[%s%s%s]}", a, b ? "," : "", b ? b : "");
    free(a);
    free(b);
    return set;
}

static const EVP_MD *digest_of(const char *alg)
{
    if (strcmp(alg, "EdDSA") == 0)
        return NULL; /* it digests by itself */
    return strstr(alg, "384") ? EVP_sha384() : strstr(alg, "512") ? EVP_sha512() : EVP_sha256();
}

/* RFC 7518 3.4: the two numbers side by side, not the DER that OpenSSL makes. */
static void add_ec_signature(Buf *out, const uint8_t *der, size_t len, int size)
{
    uint8_t raw[132];
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
    assert_non_null(sig);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, size);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + size, size);
    base64url_write(out, raw, (size_t)size * 2);
    ECDSA_SIG_free(sig);
}

static void add_signature(Buf *out, TestKey which, const char *alg)
{
    uint8_t sig[1024];
    size_t len = sizeof(sig);
    CLEANUP_FREE char *input = xstrndup(out->data, out->len);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, digest_of(alg), NULL, test_key(which)), 1);
    assert_int_equal(EVP_DigestSign(ctx, sig, &len, (const uint8_t *)input, strlen(input)), 1);
    EVP_MD_CTX_free(ctx);
    buf_addc(out, '.');
    if (which == KEY_EC || which == KEY_EC_384)
        add_ec_signature(out, sig, len, which == KEY_EC ? 32 : 48);
    else
        base64url_write(out, sig, len);
}

/* What an attacker knows: the public key. */
static void add_hmac(Buf *out, TestKey which)
{
    uint8_t mac[32];
    char *pem;
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PUBKEY(bio, test_key(which)), 1);
    long len = BIO_get_mem_data(bio, &pem);
    hmac_sha256((Str){pem, (size_t)len}, buf_str(out), mac);
    BIO_free(bio);
    buf_addc(out, '.');
    base64url_write(out, mac, sizeof(mac));
}

char *test_sign(TestKey which, const char *alg, const char *header, const char *payload)
{
    Buf b = BUF_INIT(64 << 10);
    base64url_write(&b, header, strlen(header));
    buf_addc(&b, '.');
    base64url_write(&b, payload, strlen(payload));
    if (strcmp(alg, "none") == 0)
        buf_addc(&b, '.');
    else if (strncmp(alg, "HS", 2) == 0)
        add_hmac(&b, which);
    else
        add_signature(&b, which, alg);
    return buf_take(&b);
}

char *test_token(TestKey which, const char *alg, const char *kid, const char *payload)
{
    CLEANUP_FREE char *header = xasprintf("{\"alg\":\"%s\",\"kid\":\"%s\",\"typ\":\"JWT\"}", alg, kid);
    return test_sign(which, alg, header, payload);
}

char *test_dir(void)
{
    char *dir = xstrdup("/tmp/ambient-auth-XXXXXX");
    assert_non_null(mkdtemp(dir));
    return dir;
}

void test_write(const char *path, const char *text)
{
    assert_int_equal(file_write_atomic(path, str_from(text), 0600, NULL), 0);
}
