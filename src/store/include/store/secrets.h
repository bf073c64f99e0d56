/*
 * Secrets at rest, in the form in which they are stored (sealed or not: the store does not know): every
 * F_WRITE_ONLY column of the kinds, soft-deleted rows too, and the platform's own secrets, which have a name.
 */
#pragma once

#include "store/store.h"

typedef struct StoredSecret {
    const char *table; /* "credentials", "platform_secrets" */
    Str id, value;     /* borrowed; the value is not empty */
    bool deleted;      /* of a soft-deleted row */
} StoredSecret;

/* Every one of them, by table and id; a non-zero return of fn stops and is returned. */
typedef int (*SecretFn)(void *arg, const StoredSecret *s, Err *err);
int tx_secrets_read(Tx *tx, SecretFn fn, void *arg, Err *err);

int tx_platform_secret_get(Tx *tx, Str name, char **ret, Err *err); /* ERR_NOT_FOUND; caller erases, frees */
/* Stores it unless there is one of this name already, which then stays. */
int tx_platform_secret_put(Tx *tx, Str name, Str value, Err *err);
/* Replaces `from` by `to`; *ret_swapped false when the stored value is another one. */
int tx_platform_secret_swap(Tx *tx, Str name, Str from, Str to, bool *ret_swapped, Err *err);

/*
 * Walks over all stored secrets of a database that need not be served meanwhile, for `encrypt-credentials`.
 * `turn` writes the new form into `out` and returns 1, or 0 to leave the row. The row is then changed only if
 * it still holds the value that was read, in a transaction of its own; `turned` hears the outcome (err NULL
 * and swapped false: somebody was faster). updated_at stays, and there is no event: the secret is the same.
 */
typedef struct SecretWalk {
    int (*turn)(void *arg, const StoredSecret *s, Buf *out);
    void (*turned)(void *arg, const StoredSecret *s, bool swapped, const Err *err);
} SecretWalk;
int store_secrets_walk(const StoreOptions *o, const SecretWalk *w, void *arg, Err *err);
