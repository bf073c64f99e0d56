#include "crypto/crypto.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include "base/mem.h"

#define BITS_MIN 2048
#define BITS_MAX 8192

struct RsaKey {
    EVP_PKEY *pkey;
};

static void bio_freep(BIO **b)
{
    BIO_free(*b);
}

static void ctx_freep(EVP_PKEY_CTX **c)
{
    EVP_PKEY_CTX_free(*c);
}

static RsaKey *wrap(EVP_PKEY *pkey)
{
    RsaKey *k = xnew(RsaKey);
    k->pkey = pkey;
    return k;
}

int rsa_key_new(unsigned bits, RsaKey **ret, Err *err)
{
    if (bits < BITS_MIN || bits > BITS_MAX)
        return err_set(err, ERR_INVALID, "RSA key of %u bits", bits);
    EVP_PKEY *pkey = EVP_RSA_gen(bits);
    if (!pkey)
        return err_set(err, ERR_INTERNAL, "RSA key could not be made");
    *ret = wrap(pkey);
    return 0;
}

RsaKey *rsa_key_free(RsaKey *k)
{
    if (!k)
        return NULL;
    EVP_PKEY_free(k->pkey);
    free(k);
    return NULL;
}

/* An encrypted key is refused without asking a terminal for its password. */
static int no_password(char *buf, int size, int writing, void *arg)
{
    return -1;
}

static int read_key(Str pem, bool private, RsaKey **ret, Err *err)
{
    CLEANUP(bio_freep) BIO *b = BIO_new_mem_buf(pem.ptr ? pem.ptr : "", (int)pem.len);
    if (!b)
        return err_set(err, ERR_INTERNAL, "no memory for a key");
    EVP_PKEY *pkey = private ? PEM_read_bio_PrivateKey(b, NULL, no_password, NULL)
                             : PEM_read_bio_PUBKEY(b, NULL, no_password, NULL);
    if (!pkey || EVP_PKEY_get_base_id(pkey) != EVP_PKEY_RSA || EVP_PKEY_get_bits(pkey) < BITS_MIN) {
        EVP_PKEY_free(pkey);
        return err_set(err, ERR_CORRUPT, "not an RSA key of at least %d bits in PEM", BITS_MIN);
    }
    *ret = wrap(pkey);
    return 0;
}

int rsa_key_read_private(Str pem, RsaKey **ret, Err *err)
{
    return read_key(pem, true, ret, err);
}

int rsa_key_read_public(Str pem, RsaKey **ret, Err *err)
{
    return read_key(pem, false, ret, err);
}

static int take_bio(BIO *b, bool ok, Buf *out, Err *err)
{
    char *text = NULL;
    long len = ok ? BIO_get_mem_data(b, &text) : 0;
    if (len <= 0)
        return err_set(err, ERR_INTERNAL, "RSA key could not be written");
    buf_add(out, text, (size_t)len);
    return buf_check(out, err);
}

int rsa_key_write_private(const RsaKey *k, Buf *out, Err *err)
{
    CLEANUP(bio_freep) BIO *b = BIO_new(BIO_s_secmem());
    return take_bio(b, b && PEM_write_bio_PrivateKey_traditional(b, k->pkey, NULL, NULL, 0, NULL, NULL) == 1,
                    out, err);
}

int rsa_key_write_public(const RsaKey *k, Buf *out, Err *err)
{
    CLEANUP(bio_freep) BIO *b = BIO_new(BIO_s_mem());
    return take_bio(b, b && PEM_write_bio_PUBKEY(b, k->pkey) == 1, out, err);
}

/* RFC 8017 section 7.1 with SHA-256 for both digests and an empty label. */
static bool set_oaep(EVP_PKEY_CTX *c)
{
    return EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_OAEP_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_oaep_md(c, EVP_sha256()) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(c, EVP_sha256()) == 1;
}

typedef int (*OaepFn)(EVP_PKEY_CTX *c, unsigned char *out, size_t *len, const unsigned char *in,
                      size_t in_len);

static int oaep(EVP_PKEY_CTX *c, OaepFn fn, Str in, Buf *out, Err *err)
{
    const unsigned char *bytes = (const unsigned char *)(in.ptr ? in.ptr : "");
    size_t len = 0;
    if (!set_oaep(c) || fn(c, NULL, &len, bytes, in.len) != 1)
        return err_set(err, ERR_INVALID, "RSA-OAEP does not apply");
    unsigned char *to = buf_reserve(out, len);
    if (!to)
        return err_set(err, ERR_TOO_LARGE, "RSA-OAEP: no room");
    if (fn(c, to, &len, bytes, in.len) != 1)
        return err_set(err, ERR_INVALID, "RSA-OAEP: not meant for this key");
    buf_commit(out, len);
    return 0;
}

int rsa_oaep_seal(const RsaKey *k, Str plain, Buf *out, Err *err)
{
    CLEANUP(ctx_freep) EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(k->pkey, NULL);
    if (!c || EVP_PKEY_encrypt_init(c) != 1)
        return err_set(err, ERR_INTERNAL, "RSA-OAEP cannot start");
    return oaep(c, EVP_PKEY_encrypt, plain, out, err);
}

int rsa_oaep_open(const RsaKey *k, Str sealed, Buf *out, Err *err)
{
    CLEANUP(ctx_freep) EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(k->pkey, NULL);
    if (!c || EVP_PKEY_decrypt_init(c) != 1)
        return err_set(err, ERR_INTERNAL, "RSA-OAEP cannot start");
    return oaep(c, EVP_PKEY_decrypt, sealed, out, err);
}
