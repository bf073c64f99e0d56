#include "crypto/crypto.h"

#include <openssl/evp.h>
#include "base/random.h"

#define NONCE_LEN 12
#define TAG_LEN 16

static void ctx_freep(EVP_CIPHER_CTX **c)
{
    EVP_CIPHER_CTX_free(*c);
}

static const uint8_t *bytes(Str s)
{
    return (const uint8_t *)(s.ptr ? s.ptr : "");
}

/* Everything but the tag. EVP takes int lengths, so the caller checked them. */
static bool encrypt(EVP_CIPHER_CTX *c, const uint8_t *key, const uint8_t *nonce, Str plain, Str aad,
                    uint8_t *to)
{
    int n;
    return EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
           EVP_EncryptUpdate(c, NULL, &n, bytes(aad), (int)aad.len) == 1 &&
           EVP_EncryptUpdate(c, to, &n, bytes(plain), (int)plain.len) == 1 &&
           EVP_EncryptFinal_ex(c, to + plain.len, &n) == 1 &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_LEN, to + plain.len) == 1;
}

static bool decrypt(EVP_CIPHER_CTX *c, const uint8_t *key, const uint8_t *nonce, Str sealed, Str aad,
                    uint8_t *to)
{
    int n;
    uint8_t tag[TAG_LEN];
    memcpy(tag, sealed.ptr + sealed.len, TAG_LEN);
    return EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
           EVP_DecryptUpdate(c, NULL, &n, bytes(aad), (int)aad.len) == 1 &&
           EVP_DecryptUpdate(c, to, &n, bytes(sealed), (int)sealed.len) == 1 &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_LEN, tag) == 1 &&
           EVP_DecryptFinal_ex(c, to + sealed.len, &n) == 1;
}

static int check_sizes(Str text, Str aad, Err *err)
{
    if (text.len > INT_MAX - NONCE_LEN - TAG_LEN || aad.len > INT_MAX)
        return err_set(err, ERR_TOO_LARGE, "too large to encrypt");
    return 0;
}

int aead_seal(const uint8_t key[static 32], Str plain, Str aad, Buf *out, Err *err)
{
    int r = check_sizes(plain, aad, err);
    if (r < 0)
        return r;
    size_t len = NONCE_LEN + plain.len + TAG_LEN;
    uint8_t *to = buf_reserve(out, len);
    if (!to)
        return buf_check(out, err);
    CLEANUP(ctx_freep) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    random_bytes(to, NONCE_LEN);
    if (!c || !encrypt(c, key, to, plain, aad, to + NONCE_LEN))
        return err_set(err, ERR_INTERNAL, "AES-256-GCM: encryption failed");
    buf_commit(out, len);
    return 0;
}

int aead_open(const uint8_t key[static 32], Str sealed, Str aad, Buf *out, Err *err)
{
    int r = check_sizes(sealed, aad, err);
    if (r < 0)
        return r;
    if (sealed.len < NONCE_LEN + TAG_LEN)
        return err_set(err, ERR_CORRUPT, "sealed value is too short");
    size_t len = sealed.len - NONCE_LEN - TAG_LEN;
    uint8_t *to = buf_reserve(out, len);
    if (!to)
        return buf_check(out, err);
    CLEANUP(ctx_freep) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    Str text = str_slice(sealed, NONCE_LEN, NONCE_LEN + len);
    if (!c || !decrypt(c, key, bytes(sealed), text, aad, to)) {
        secret_erase(to, len); /* what was decrypted before the tag was found wrong */
        buf_truncate(out, out->len);
        return err_set(err, ERR_CORRUPT, "sealed value does not fit this key or was changed");
    }
    buf_commit(out, len);
    return 0;
}
