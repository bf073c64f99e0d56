/* Signatures of RFC 8032. */
#include <openssl/evp.h>

#include "crypto/crypto.h"

static void pkey_freep(EVP_PKEY **k)
{
    EVP_PKEY_free(*k);
}

static void md_ctx_freep(EVP_MD_CTX **c)
{
    EVP_MD_CTX_free(*c);
}

bool ed25519_verify(const uint8_t key[static ED25519_KEY_LEN], Str data, Str signature)
{
    CLEANUP(pkey_freep)
    EVP_PKEY *k = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, ED25519_KEY_LEN);
    CLEANUP(md_ctx_freep) EVP_MD_CTX *c = EVP_MD_CTX_new();
    return k && c && EVP_DigestVerifyInit(c, NULL, NULL, NULL, k) == 1 &&
           EVP_DigestVerify(c, (const uint8_t *)signature.ptr, signature.len, (const uint8_t *)data.ptr,
                            data.len) == 1;
}
