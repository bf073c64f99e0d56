#include "crypto/keyring.h"

#include <assert.h>
#include "base/mem.h"
#include "base/vec.h"
#include "crypto/crypto.h"

#define PREFIX "enc:v"
#define SEALED_MIN 28 /* nonce and tag of an empty value */
#define VALUE_MAX ((size_t)16 << 20)

typedef struct Key {
    int64_t version;
    Secret *bytes;
} Key;

struct KeyRing {
    VEC_OF(Key)
    keys; /* by version */
    int64_t active;
};

KeyRing *keyring_new(void)
{
    KeyRing *k = xnew(KeyRing);
    k->active = -1;
    return k;
}

KeyRing *keyring_free(KeyRing *k)
{
    if (!k)
        return NULL;
    VEC_FOREACH (&k->keys, key)
        secret_free(key->bytes);
    vec_free(&k->keys);
    free(k);
    return NULL;
}

static const Key *find(const KeyRing *k, int64_t version)
{
    for (size_t i = 0; k && i < k->keys.len; i++)
        if (k->keys.ptr[i].version == version)
            return &k->keys.ptr[i];
    return NULL;
}

/* Digits only: a sign, a blank or "1e3" would be a second spelling. */
static int parse_version(Str s, int64_t *ret)
{
    int64_t v = 0;
    if (!s.len || s.len > 10)
        return -1;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return -1;
        v = v * 10 + (s.ptr[i] - '0');
    }
    if (v > KEYRING_VERSION_MAX)
        return -1;
    *ret = v;
    return 0;
}

static void buf_erase(Buf *b)
{
    if (b->data)
        secret_erase(b->data, b->len);
    buf_done(b);
}

static void insert_sorted(KeyRing *k, Key key)
{
    vec_push(&k->keys, key);
    for (size_t i = k->keys.len - 1; i > 0 && k->keys.ptr[i - 1].version > key.version; i--) {
        k->keys.ptr[i] = k->keys.ptr[i - 1];
        k->keys.ptr[i - 1] = key;
    }
}

int keyring_add(KeyRing *k, Str version, Str base64, Err *err)
{
    CLEANUP(buf_erase) Buf raw = BUF_INIT(4096);
    int64_t v;
    if (parse_version(version, &v) < 0)
        return err_set(err, ERR_INVALID, "key version \"" STR_FMT "\" is not a number",
                       STR_ARG(str_slice(version, 0, 32)));
    if (find(k, v))
        return err_set(err, ERR_CONFLICT, "key version %lld is there twice", (long long)v);
    if (base64_read(base64, &raw) < 0 || raw.len != KEYRING_KEY_LEN)
        return err_set(err, ERR_INVALID, "key of version %lld is not base64 of %d bytes", (long long)v,
                       KEYRING_KEY_LEN);
    insert_sorted(k, (Key){v, secret_new(buf_str(&raw))});
    return 0;
}

int keyring_activate(KeyRing *k, int64_t version, Err *err)
{
    if (!find(k, version))
        return err_set(err, ERR_NOT_FOUND, "there is no key of version %lld", (long long)version);
    k->active = version;
    return 0;
}

int64_t keyring_active(const KeyRing *k)
{
    return k ? k->active : -1;
}

bool keyring_has(const KeyRing *k, int64_t version)
{
    return find(k, version) != NULL;
}

void keyring_describe(const KeyRing *k, Buf *out)
{
    for (size_t i = 0; k && i < k->keys.len; i++)
        (void)buf_addf(out, "%s%lld", i ? " " : "", (long long)k->keys.ptr[i].version);
}

/* ---- the stored form ---- */

/* Splits "enc:v<N>:<base64>". The prefix "enc:" alone already says that this is no plain text. */
static SealedForm split(Str stored, int64_t *ret_version, Buf *raw)
{
    Str rest = stored;
    if (!str_starts(stored, STR("enc:")))
        return SEALED_NOT;
    if (!str_starts(stored, STR(PREFIX)))
        return SEALED_DAMAGED;
    rest = str_slice(stored, sizeof(PREFIX) - 1, stored.len);
    Str version = str_cut(&rest, ':');
    if (!rest.ptr || parse_version(version, ret_version) < 0 || base64_read(rest, raw) < 0 ||
        raw->len < SEALED_MIN)
        return SEALED_DAMAGED;
    return SEALED_GOOD;
}

SealedForm sealed_form(Str stored, int64_t *ret_version)
{
    CLEANUP_BUF Buf raw = BUF_INIT(VALUE_MAX);
    int64_t version = 0;
    SealedForm form = split(stored, &version, &raw);
    if (form == SEALED_GOOD && ret_version)
        *ret_version = version;
    return form;
}

int keyring_seal(const KeyRing *k, Str plain, Str aad, Buf *out, Err *err)
{
    CLEANUP_BUF Buf sealed = BUF_INIT(VALUE_MAX);
    const Key *key = find(k, keyring_active(k));
    assert(key);
    int rc = aead_seal((const uint8_t *)secret_reveal(key->bytes).ptr, plain, aad, &sealed, err);
    if (rc < 0)
        return rc;
    (void)buf_addf(out, PREFIX "%lld:", (long long)key->version);
    base64_write(out, sealed.data, sealed.len);
    return buf_check(out, err);
}

int keyring_open(const KeyRing *k, Str stored, Str aad, Secret **ret, Err *err)
{
    CLEANUP_BUF Buf sealed = BUF_INIT(VALUE_MAX);
    CLEANUP(buf_erase) Buf plain = BUF_INIT(VALUE_MAX);
    int64_t version = 0;
    SealedForm form = split(stored, &version, &sealed);
    if (form == SEALED_DAMAGED)
        return err_set(err, ERR_CORRUPT, "a stored secret is damaged");
    if (form == SEALED_NOT) {
        *ret = secret_new(stored);
        return 0;
    }
    const Key *key = find(k, version);
    if (!key)
        return err_set(err, ERR_PRECONDITION, "the key of a stored secret is not in the key ring");
    int rc = aead_open((const uint8_t *)secret_reveal(key->bytes).ptr, buf_str(&sealed), aad, &plain, err);
    if (rc < 0)
        return rc;
    *ret = secret_new(buf_str(&plain));
    return 0;
}
