#include "token-ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"

#define PEM_MAX ((size_t)64 << 10)
#define PREFIX "private-"

void token_ring_done(TokenRing *r)
{
    VEC_FOREACH (&r->keys, k)
        rsa_key_free(k->key);
    vec_free(&r->keys);
}

static int name_key(TokenRingKey *k, Err *err)
{
    CLEANUP_BUF Buf pem = BUF_INIT(PEM_MAX), text = BUF_INIT(64);
    uint8_t hash[SHA256_LEN];
    int rc = rsa_key_write_public(k->key, &pem, err);
    if (rc < 0)
        return rc;
    sha256(buf_str(&pem), hash);
    hex_write(&text, hash, (sizeof(k->id) - 1) / 2);
    snprintf(k->id, sizeof(k->id), "%.*s", (int)text.len, text.data);
    return 0;
}

static int read_key(const json_t *data, const char *name, TokenRingKey *ret, Err *err)
{
    Str text = json_get_strv(data, name);
    Buf pem = BUF_INIT(PEM_MAX);
    int rc = 0;
    if (text.len == 0 || base64_read(text, &pem) < 0)
        rc = err_set(err, ERR_INVALID, "Secret " TOKEN_RING_SECRET " has no usable %s", name);
    if (rc == 0)
        rc = rsa_key_read_private(buf_str(&pem), &ret->key, err);
    if (pem.data)
        secret_erase(pem.data, pem.cap);
    buf_done(&pem);
    return rc == 0 ? name_key(ret, err) : rc;
}

static int by_place(const void *a, const void *b)
{
    unsigned x = ((const TokenRingKey *)a)->place, y = ((const TokenRingKey *)b)->place;
    if (x == 0 || y == 0)
        return (x != 0) - (y != 0);
    return (x < y) - (x > y); /* the higher number is the younger key */
}

/* 0: no name of an older key. */
static unsigned place_of(const char *name)
{
    Str rest = str_from(name);
    int64_t n;
    if (!str_starts(rest, STR(PREFIX)) || rest.len <= strlen(PREFIX ".pem"))
        return 0;
    rest = str_slice(rest, strlen(PREFIX), rest.len - strlen(".pem"));
    return str_to_i64(rest, &n) == 0 && n > 0 && n < 1000000 ? (unsigned)n : 0;
}

static void read_older(const json_t *data, TokenRing *r)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)data, name, value)
    {
        Err err = {0};
        TokenRingKey k = {.place = place_of(name)};
        if (k.place == 0 || r->keys.len >= TOKEN_RING_MAX)
            continue;
        if (read_key(data, name, &k, &err) < 0)
            log_warn("a key of the token endpoint is left out", F_STR("name", name), F_ERR(&err));
        if (*k.id)
            vec_push(&r->keys, k);
        else
            rsa_key_free(k.key);
    }
}

int token_ring_read(const json_t *secret, TokenRing *ret, Err *err)
{
    const json_t *data = json_get_obj(secret, "data");
    TokenRing r = {0};
    TokenRingKey newest = {0};
    if (json_get_strv(data, "public.pem").len == 0)
        return err_set(err, ERR_INVALID, "Secret " TOKEN_RING_SECRET " has no public.pem");
    int rc = read_key(data, "private.pem", &newest, err);
    if (rc < 0) {
        rsa_key_free(newest.key);
        return rc;
    }
    vec_push(&r.keys, newest);
    read_older(data, &r);
    qsort(r.keys.ptr, r.keys.len, sizeof(*r.keys.ptr), by_place);
    *ret = r;
    return 0;
}

TokenRingKey *token_ring_find(const TokenRing *r, const char *id)
{
    VEC_FOREACH (&r->keys, k)
        if (strcmp(k->id, id) == 0)
            return k;
    return NULL;
}

const TokenRingKey *token_ring_newest(const TokenRing *r)
{
    return r->keys.len > 0 ? &r->keys.ptr[0] : NULL;
}

int token_ring_open(const TokenRing *r, Str sealed, Buf *plain)
{
    VEC_FOREACH (&r->keys, k) {
        buf_clear(plain);
        if (rsa_oaep_open(k->key, sealed, plain, NULL) == 0)
            return 0;
    }
    return -1;
}

int token_ring_public(const TokenRing *r, Buf *out, Err *err)
{
    const TokenRingKey *newest = token_ring_newest(r);
    if (!newest)
        return err_set(err, ERR_INTERNAL, "there is no key");
    return rsa_key_write_public(newest->key, out, err);
}

/* ---- what to write ---- */

static int put(json_t *data, const char *name, const RsaKey *key, bool public, Err *err)
{
    Buf pem = BUF_INIT(PEM_MAX), text = BUF_INIT(PEM_MAX * 2);
    int rc = public ? rsa_key_write_public(key, &pem, err) : rsa_key_write_private(key, &pem, err);
    if (rc == 0) {
        base64_write(&text, pem.data, pem.len);
        json_object_set_new(data, name, json_strv(buf_str(&text)));
    }
    if (pem.data)
        secret_erase(pem.data, pem.cap);
    if (text.data)
        secret_erase(text.data, text.cap);
    buf_done(&pem);
    buf_done(&text);
    return rc;
}

static unsigned next_place(const TokenRing *r)
{
    unsigned highest = 0;
    VEC_FOREACH (&r->keys, k)
        highest = k->place > highest ? k->place : highest;
    return highest + 1;
}

int token_ring_data(const TokenRing *r, const RsaKey *next, json_t **ret, Err *err)
{
    json_t *data = json_object();
    char name[32];
    const RsaKey *first = next ? next : r->keys.ptr[0].key;
    int rc = put(data, "private.pem", first, false, err);
    if (rc == 0)
        rc = put(data, "public.pem", first, true, err);
    VEC_FOREACH (&r->keys, k) {
        if (rc < 0 || k->key == first)
            continue;
        snprintf(name, sizeof(name), PREFIX "%u.pem", k->place ? k->place : next_place(r));
        rc = put(data, name, k->key, false, err);
    }
    if (rc < 0)
        token_ring_erase(data);
    else
        *ret = data;
    return rc;
}

void token_ring_erase(json_t *data)
{
    const char *name;
    json_t *value;
    json_object_foreach(data, name, value)
    {
        if (json_is_string(value)) /* nobody else has it: it was made by token_ring_data() */
            secret_erase((char *)(uintptr_t)json_string_value(value), json_string_length(value));
    }
    json_decref(data);
}
