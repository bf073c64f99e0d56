#include "encrypt.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/vec.h"
#include "keys.h"
#include "store/secrets.h"

#define ARROW "\xe2\x86\x92"

typedef enum Work { WORK_NONE, WORK_ENCRYPT, WORK_REKEY, WORK_DECRYPT } Work;

typedef struct Encrypt {
    const KeyRing *keys;
    bool decrypt, dry_run;
    Work work; /* of the row at hand */
    unsigned counts[WORK_DECRYPT + 1];
    unsigned changed_meanwhile, soft_deleted;
    VEC_OF(char *)
    failed;
} Encrypt;

static const char *const verbs[] = {
    [WORK_NONE] = "read", [WORK_ENCRYPT] = "encrypt", [WORK_REKEY] = "encrypt", [WORK_DECRYPT] = "decrypt"};

static Work work_for(const Encrypt *e, Str stored)
{
    int64_t version = -1;
    SealedForm form = sealed_form(stored, &version);
    if (e->decrypt)
        return form == SEALED_NOT ? WORK_NONE : WORK_DECRYPT;
    if (form == SEALED_NOT)
        return WORK_ENCRYPT;
    return form == SEALED_GOOD && version == keyring_active(e->keys) ? WORK_NONE : WORK_REKEY;
}

static void fail_row(Encrypt *e, const char *verb, const StoredSecret *s, const Err *why)
{
    (void)fprintf(stderr, "ERROR: %s " STR_FMT ": %s\n", verb, STR_ARG(s->id), why->msg);
    vec_push(&e->failed, str_dup(s->id));
}

static int new_form(const Encrypt *e, const StoredSecret *s, Buf *out, Err *err)
{
    CLEANUP(secret_freep) Secret *plain = NULL;
    int rc = keyring_open(e->keys, s->value, s->id, &plain, err);
    if (rc == 0 && e->work != WORK_DECRYPT)
        return keyring_seal(e->keys, secret_reveal(plain), s->id, out, err);
    return rc == 0 ? buf_adds(out, secret_reveal(plain)) : rc;
}

static int turn(void *arg, const StoredSecret *s, Buf *out)
{
    Encrypt *e = arg;
    Err why = {0};
    e->work = work_for(e, s->value);
    if (e->work == WORK_NONE || e->dry_run) {
        e->counts[e->work]++;
        e->soft_deleted += e->work != WORK_NONE && s->deleted;
        return 0;
    }
    if (new_form(e, s, out, &why) == 0)
        return 1;
    fail_row(e, verbs[e->work], s, &why);
    return 0;
}

static void turned(void *arg, const StoredSecret *s, bool swapped, const Err *err)
{
    Encrypt *e = arg;
    if (err)
        fail_row(e, "update", s, err);
    else if (!swapped)
        e->changed_meanwhile++;
    else {
        e->counts[e->work]++;
        e->soft_deleted += s->deleted;
    }
}

/* ---- what it says ---- */

static void say_dry_run(const Encrypt *e)
{
    if (e->decrypt)
        (void)printf("Would decrypt: %u encrypted, Already plaintext: %u\n", e->counts[WORK_DECRYPT],
                     e->counts[WORK_NONE]);
    else
        (void)printf("Would encrypt: %u plaintext, Would re-encrypt: %u (" ARROW
                     " v%lld), Already current: %u\n",
                     e->counts[WORK_ENCRYPT], e->counts[WORK_REKEY], (long long)keyring_active(e->keys),
                     e->counts[WORK_NONE]);
}

static void say_done(const Encrypt *e)
{
    long long version = (long long)keyring_active(e->keys);
    bool none = !e->counts[WORK_ENCRYPT] && !e->counts[WORK_REKEY] && !e->counts[WORK_DECRYPT];
    if (none && !e->failed.len)
        (void)puts(e->decrypt ? "0 credentials need decryption. All plaintext."
                              : "0 credentials need encryption. All up to date.");
    if (e->counts[WORK_ENCRYPT])
        (void)printf("%u credentials encrypted (plaintext " ARROW " v%lld)\n", e->counts[WORK_ENCRYPT],
                     version);
    if (e->counts[WORK_REKEY])
        (void)printf("%u credentials re-encrypted to v%lld\n", e->counts[WORK_REKEY], version);
    if (e->counts[WORK_DECRYPT])
        (void)printf("%u credentials decrypted to plaintext\n", e->counts[WORK_DECRYPT]);
}

/* Beyond the reference's lines: rows that nobody sees, and rows that somebody else wrote at the same time. */
static void say_more(const Encrypt *e)
{
    if (e->soft_deleted)
        (void)printf("%u of them are deleted\n", e->soft_deleted);
    if (e->changed_meanwhile)
        (void)printf("%u changed meanwhile and were left as they are; run this again\n",
                     e->changed_meanwhile);
}

static int say_failures(const Encrypt *e)
{
    if (!e->failed.len)
        return 0;
    (void)fprintf(stderr, "%zu credentials failed: [", e->failed.len);
    for (size_t i = 0; i < e->failed.len; i++)
        (void)fprintf(stderr, "%s%s", i ? " " : "", e->failed.ptr[i]);
    (void)fputs("]\n", stderr);
    return 1;
}

static int walk(Encrypt *e, const Config *c, Err *err)
{
    static const SecretWalk ops = {turn, turned};
    const StoreOptions where = config_store(c);
    int rc = store_secrets_walk(&where, &ops, e, err);
    if (rc < 0)
        return rc;
    if (e->dry_run)
        say_dry_run(e);
    else
        say_done(e);
    say_more(e);
    return say_failures(e);
}

int encrypt_credentials(const Config *c, Err *err)
{
    CLEANUP(keyring_freep) KeyRing *keys = NULL;
    if (secret_is_empty(c->keyring))
        return err_set(err, ERR_INVALID,
                       "CREDENTIAL_ENCRYPTION_KEYRING and CREDENTIAL_ENCRYPTION_KEY_VERSION "
                       "must be set");
    int rc = keys_load(c, &keys, err);
    if (rc < 0)
        return rc;
    Encrypt e = {.keys = keys, .decrypt = c->decrypt, .dry_run = c->dry_run};
    rc = walk(&e, c, err);
    VEC_FOREACH (&e.failed, id)
        free(*id);
    vec_free(&e.failed);
    return rc;
}
