#include "crypto/crypto.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include "base/mem.h"

struct Sha256 {
    EVP_MD_CTX *ctx;
};

/* A digest over memory fails only without memory or without the algorithm: nothing that uses hashes can go
 * on. */
static void must(int openssl_result)
{
    if (openssl_result != 1)
        abort();
}

Sha256 *sha256_new(void)
{
    Sha256 *h = xnew(Sha256);
    h->ctx = EVP_MD_CTX_new();
    must(h->ctx != NULL);
    must(EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL));
    return h;
}

void sha256_add(Sha256 *h, const void *data, size_t len)
{
    must(EVP_DigestUpdate(h->ctx, data, len));
}

void sha256_final(Sha256 *h, uint8_t out[static SHA256_LEN])
{
    must(EVP_DigestFinal_ex(h->ctx, out, NULL));
    must(EVP_DigestInit_ex(h->ctx, NULL, NULL));
}

Sha256 *sha256_free(Sha256 *h)
{
    if (!h)
        return NULL;
    EVP_MD_CTX_free(h->ctx);
    free(h);
    return NULL;
}

void sha256(Str data, uint8_t out[static SHA256_LEN])
{
    must(EVP_Digest(data.ptr, data.len, out, NULL, EVP_sha256(), NULL));
}

void hmac_sha256(Str key, Str data, uint8_t out[static SHA256_LEN])
{
    unsigned len = 0;
    assert(key.len <= INT_MAX);
    /* A NULL key would mean "the one of before" to OpenSSL. */
    must(HMAC(EVP_sha256(), key.len ? key.ptr : "", (int)key.len, (const unsigned char *)data.ptr, data.len,
              out, &len) != NULL);
    assert(len == SHA256_LEN);
}

bool mem_equal_consttime(const void *a, const void *b, size_t len)
{
    return len == 0 || CRYPTO_memcmp(a, b, len) == 0;
}
