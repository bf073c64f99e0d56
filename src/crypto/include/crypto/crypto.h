/* Digests, random bytes and encodings on OpenSSL 3. Stateless and thread-safe. */
#pragma once

#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/random.h"
#include "base/secret.h"

#define SHA256_LEN 32

typedef struct Sha256 Sha256; /* incremental digest */
Sha256 *sha256_new(void);
void sha256_add(Sha256 *h, const void *data, size_t len);
void sha256_final(Sha256 *h, uint8_t out[static SHA256_LEN]); /* the object starts afresh */
Sha256 *sha256_free(Sha256 *h);
DEFINE_CLEANUP(Sha256, sha256_free)
void sha256(Str data, uint8_t out[static SHA256_LEN]);
void hmac_sha256(Str key, Str data, uint8_t out[static SHA256_LEN]);

#define ED25519_KEY_LEN 32
bool ed25519_verify(const uint8_t key[static ED25519_KEY_LEN], Str data, Str signature);

bool mem_equal_consttime(const void *a, const void *b, size_t len);

void hex_write(Buf *b, const void *data, size_t len);
void base64_write(Buf *b, const void *data, size_t len);
void base64url_write(Buf *b, const void *data, size_t len); /* unpadded */
int base64_read(Str in, Buf *out); /* padded or not, standard or url alphabet; 0 or -1 (out as it was) */

/* AES-256-GCM, 12-byte random nonce in front, 16-byte tag behind. Opening gives ERR_CORRUPT when anything was
   changed; the caller erases the plain text (secret_erase) when done. */
int aead_seal(const uint8_t key[static 32], Str plain, Str aad, Buf *out, Err *err);
int aead_open(const uint8_t key[static 32], Str sealed, Str aad, Buf *out, Err *err);

/* RSA keys in PEM (private: "RSA PRIVATE KEY" or PKCS #8; public: SubjectPublicKeyInfo), at least 2048 bits.
   Immutable: one key may be used by several threads. */
typedef struct RsaKey RsaKey;
int rsa_key_new(unsigned bits, RsaKey **ret, Err *err); /* seconds of work at 4096 bits: on a worker thread */
RsaKey *rsa_key_free(RsaKey *k);                        /* NULL-safe, returns NULL */
DEFINE_CLEANUP(RsaKey, rsa_key_free)
int rsa_key_read_private(Str pem, RsaKey **ret, Err *err);
int rsa_key_read_public(Str pem, RsaKey **ret, Err *err);
int rsa_key_write_private(const RsaKey *k, Buf *out, Err *err); /* "RSA PRIVATE KEY" (PKCS #1); a secret */
int rsa_key_write_public(const RsaKey *k, Buf *out, Err *err);
/* RSA-OAEP with SHA-256 and MGF1-SHA-256, empty label. ERR_INVALID: not sealed for this key, or too long. */
int rsa_oaep_seal(const RsaKey *k, Str plain, Buf *out, Err *err);
int rsa_oaep_open(const RsaKey *k, Str sealed, Buf *out, Err *err);
