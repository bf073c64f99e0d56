#include "keys.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "json/json.h"

static bool plaintext_allowed(const Config *c)
{
    return (c->allow_plaintext && strcmp(c->allow_plaintext, "true") == 0) ||
           strcmp(c->environment, "development") == 0 || strcmp(c->environment, "integration_testing") == 0;
}

static int add_keys(KeyRing *k, const json_t *ring, Err *err)
{
    const char *version;
    json_t *key;
    if (!json_is_object(ring) || !json_object_size(ring))
        return err_set(err, ERR_INVALID, "it must be a JSON object of version and base64 key");
    json_object_foreach((json_t *)(uintptr_t)ring, version, key)
    {
        Str text = json_is_string(key) ? (Str){json_string_value(key), json_string_length(key)} : STR("");
        int rc = keyring_add(k, str_from(version), text, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int activate(KeyRing *k, const char *text, Err *err)
{
    int64_t version;
    if (!text || !*text)
        return err_set(err, ERR_INVALID,
                       "CREDENTIAL_ENCRYPTION_KEY_VERSION must be set with CREDENTIAL_ENCRYPTION_KEYRING");
    if (str_to_i64(str_from(text), &version) < 0)
        return err_set(err, ERR_INVALID, "CREDENTIAL_ENCRYPTION_KEY_VERSION must be an integer");
    return keyring_activate(k, version, err) < 0
               ? err_set(err, ERR_INVALID, "CREDENTIAL_ENCRYPTION_KEY_VERSION %lld is not in the key ring",
                         (long long)version)
               : 0;
}

static int read_ring(const Config *c, KeyRing *k, Err *err)
{
    CLEANUP_JSON json_t *ring = NULL;
    if (json_parse(secret_reveal(c->keyring), &ring, NULL) < 0) /* the parser's text may show a key */
        return err_set(err, ERR_INVALID, "CREDENTIAL_ENCRYPTION_KEYRING is not JSON");
    if (add_keys(k, ring, err) < 0)
        return err_wrap(err, "CREDENTIAL_ENCRYPTION_KEYRING");
    return activate(k, c->key_version, err);
}

int keys_load(const Config *c, KeyRing **ret, Err *err)
{
    if (secret_is_empty(c->keyring)) {
        *ret = NULL;
        return plaintext_allowed(c) ? 0
                                    : err_set(err, ERR_INVALID,
                                              "CREDENTIAL_ENCRYPTION_KEYRING is not set: set it, or "
                                              "CREDENTIAL_ENCRYPTION_ALLOW_PLAINTEXT=true");
    }
    CLEANUP(keyring_freep) KeyRing *k = keyring_new();
    if (read_ring(c, k, err) < 0)
        return -ERR_INVALID;
    *ret = TAKE(k);
    return 0;
}

void keys_announce(const KeyRing *k)
{
    CLEANUP_BUF Buf versions = BUF_INIT(65536);
    if (!k) {
        (void)fputs("WARNING: credential encryption disabled, secrets are stored as plain text\n", stderr);
        return;
    }
    keyring_describe(k, &versions);
    (void)fprintf(stderr,
                  "INFO: credential encryption enabled, using key v%lld, keyring contains versions: [" STR_FMT
                  "]\n",
                  (long long)keyring_active(k), STR_ARG(buf_str(&versions)));
}
