/*
 * Encryption of single values at rest: AES-256-GCM under one of several numbered keys. A sealed value is
 * text, "enc:v<N>:" and standard base64 of nonce, ciphertext and tag; what it belongs to (an object's id) is
 * authenticated with it, so that a value that was copied to another row does not open. Keys are added once,
 * at start; after that a ring is read only and may be shared by threads. NULL is a ring without keys.
 * Contract: rest-governance-and-auth.md 4.1.
 */
#pragma once

#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

#define KEYRING_KEY_LEN 32
#define KEYRING_VERSION_MAX INT64_C(2147483647)

typedef struct KeyRing KeyRing;
KeyRing *keyring_new(void);
KeyRing *keyring_free(KeyRing *k); /* NULL-safe, returns NULL; erases the keys */
DEFINE_CLEANUP(KeyRing, keyring_free)
/* `version` is decimal. ERR_INVALID: no number, or no base64 of 32 bytes; ERR_CONFLICT: it is there already.
 */
int keyring_add(KeyRing *k, Str version, Str base64, Err *err);
/* The key that seals from now on; ERR_NOT_FOUND when the ring has none of this version. */
int keyring_activate(KeyRing *k, int64_t version, Err *err);
int64_t keyring_active(const KeyRing *k); /* -1 = there is none */
bool keyring_has(const KeyRing *k, int64_t version);
void keyring_describe(const KeyRing *k, Buf *out); /* "1 2 7": versions in order, never keys */

typedef enum SealedForm {
    SEALED_NOT,     /* plain text */
    SEALED_GOOD,    /* well-formed; whether it opens is for its key to say */
    SEALED_DAMAGED, /* says that it is sealed and is not */
} SealedForm;
SealedForm sealed_form(Str stored, int64_t *ret_version); /* ret may be NULL; written when SEALED_GOOD */

/* Appends the stored form. The ring has an active key. */
int keyring_seal(const KeyRing *k, Str plain, Str aad, Buf *out, Err *err);
/* What a stored form holds; plain text is given back as it is. ERR_CORRUPT: damaged, changed, or of another
   owner; ERR_PRECONDITION: the ring does not have its key. The texts tell nothing of the value or its key. */
int keyring_open(const KeyRing *k, Str stored, Str aad, Secret **ret, Err *err);
