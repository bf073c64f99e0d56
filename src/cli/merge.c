/* Comparing what a manifest wants with what the server has. */
#include "apply.h"

#include <string.h>
#include "base/mem.h"
#include "base/random.h"
#include "crypto/crypto.h"

#define SALT_LEN 16
#define DIGEST_ROUNDS 20000 /* some ms: makes guessing a short secret from its digest slow */

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *sorted(const json_t *v)
{
    if (!json_is_object(v))
        return json_incref((json_t *)(uintptr_t)v);
    VEC_OF(const char *)
    keys = {0};
    const char *key;
    json_t *one;
    json_object_foreach((json_t *)(uintptr_t)v, key, one) vec_push(&keys, key);
    if (keys.len)
        qsort(keys.ptr, keys.len, sizeof(*keys.ptr), compare_keys);
    json_t *out = json_object();
    VEC_FOREACH (&keys, k)
        json_object_set_new(out, *k, sorted(json_object_get(v, *k)));
    vec_free(&keys);
    return out;
}

static json_t *text_of(const json_t *v)
{
    CLEANUP_JSON json_t *s = sorted(v);
    CLEANUP_BUF Buf b = BUF_INIT(16 * 1024 * 1024);
    json_write(&b, s);
    return json_strv(buf_str(&b));
}

json_t *wire_value(const Field *f, const json_t *v)
{
    if (f->type != FT_JSON_TEXT || json_is_null(v) || json_is_string(v))
        return json_incref((json_t *)(uintptr_t)v);
    return text_of(v);
}

/* The value of a JSON text; what cannot be read stays the text. New reference. */
static json_t *value_of_text(const json_t *v)
{
    json_t *parsed = NULL;
    if (json_is_string(v) &&
        json_parse((Str){json_string_value(v), json_string_length(v)}, &parsed, NULL) == 0)
        return parsed;
    return v ? json_incref((json_t *)(uintptr_t)v) : json_null();
}

json_t *map_of_text(const json_t *v)
{
    CLEANUP_JSON json_t *map = value_of_text(v);
    return json_is_object(map) ? json_copy(map) : json_object();
}

static bool is_empty(const json_t *v)
{
    return !v || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0) || json_is_false(v);
}

/* What a field has when nobody sets it; NULL = nothing. New reference. */
static json_t *default_of(const Field *f)
{
    int64_t i;
    double d;
    Str s = str_from(f->dflt);
    if (!f->dflt)
        return NULL;
    if ((f->type == FT_INT32 || f->type == FT_INT64) && str_to_i64(s, &i) == 0)
        return json_integer(i);
    if (f->type == FT_DOUBLE && str_to_double(s, &d) == 0)
        return json_real(d);
    if (f->type == FT_BOOL)
        return json_boolean(str_eqz(s, "true"));
    return json_strv(s);
}

static bool takes_default(const Field *f, const json_t *want)
{
    bool unset = f->flags & F_UNSET_NEG1 && json_is_number(want) && json_number_value(want) < 0;
    bool blank = f->flags & F_DFLT_EMPTY && json_is_string(want) && json_string_length(want) == 0;
    return f->dflt && (json_is_null(want) || unset || blank);
}

static bool same_number(const json_t *a, const json_t *b)
{
    double x = json_number_value(a), y = json_number_value(b);
    return json_is_number(a) && json_is_number(b) && !(x < y) && !(x > y);
}

bool field_equal(const Field *f, const json_t *want, const json_t *live)
{
    CLEANUP_JSON json_t *dflt = takes_default(f, want) ? default_of(f) : NULL;
    if (dflt)
        want = dflt;
    if (is_empty(want) && is_empty(live))
        return true;
    if (f->type == FT_JSON_TEXT) {
        CLEANUP_JSON json_t *a = value_of_text(want);
        CLEANUP_JSON json_t *b = value_of_text(live);
        return json_equal(a, b) || (is_empty(a) && is_empty(b));
    }
    return json_equal(want, live) || same_number(want, live);
}

/* ---- secrets: the server never answers them, so a salted digest of the last one applied is kept ---- */

static void digest_of(Str salt, Str secret, Buf *out)
{
    uint8_t d[SHA256_LEN];
    hmac_sha256(salt, secret, d);
    for (unsigned i = 1; i < DIGEST_ROUNDS; i++)
        hmac_sha256(salt, (Str){(const char *)d, sizeof(d)}, d);
    hex_write(out, salt.ptr, salt.len);
    buf_addc(out, ':');
    hex_write(out, d, sizeof(d));
}

static json_t *new_digest(Str secret)
{
    char salt[SALT_LEN];
    CLEANUP_BUF Buf b = BUF_INIT(1024);
    random_bytes(salt, sizeof(salt));
    digest_of((Str){salt, sizeof(salt)}, secret, &b);
    return json_strv(buf_str(&b));
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool digest_matches(Str digest, Str secret)
{
    char salt[SALT_LEN];
    if (digest.len != 2 * SALT_LEN + 1 + 2 * SHA256_LEN)
        return false;
    for (size_t i = 0; i < SALT_LEN; i++) {
        int hi = hex_value(digest.ptr[2 * i]), lo = hex_value(digest.ptr[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        salt[i] = (char)(hi << 4 | lo);
    }
    CLEANUP_BUF Buf b = BUF_INIT(1024);
    digest_of((Str){salt, sizeof(salt)}, secret, &b);
    return b.len == digest.len && mem_equal_consttime(b.data, digest.ptr, b.len);
}

/* ---- labels and annotations ---- */

typedef struct Merge {
    const Kind *k;
    const json_t *want, *live;
    json_t *body;
    json_t *last;   /* what was applied before: {"labels": [keys], "token": digest} */
    json_t *record; /* what is applied now */
    Err *err;
} Merge;

static const Field *field_named(const Kind *k, const char *name)
{
    int i = kind_field(k, str_from(name));
    return i >= 0 && k->fields[i].flags & F_PATCH ? &k->fields[i] : NULL;
}

static json_t *keys_of(const json_t *map)
{
    CLEANUP_JSON json_t *s = sorted(map);
    json_t *keys = json_array();
    const char *key;
    json_t *v;
    json_object_foreach(s, key, v) json_array_append_new(keys, json_string(key));
    return keys;
}

/* The live map less the keys that we set last time, and with those that are wanted. New reference. */
static json_t *merge_map(Merge *m, const char *name)
{
    json_t *out = m->live ? map_of_text(json_object_get(m->live, name)) : json_object();
    json_t *want = json_object_get(m->want, name), *owned = json_get_arr(m->last, name);
    for (size_t i = 0; i < json_array_size(owned); i++)
        json_object_del(out, json_string_value(json_array_get(owned, i)));
    if (json_is_object(want)) {
        json_object_update(out, want);
        if (json_object_size(want))
            json_object_set_new(m->record, name, keys_of(want));
    }
    return out;
}

static void put_map(Merge *m, const Field *f, const json_t *map)
{
    json_t *live = m->live ? json_object_get(m->live, f->json) : NULL;
    CLEANUP_JSON json_t *before = map_of_text(live);
    if (!json_equal(before, map))
        json_object_set_new(m->body, f->json, text_of(map));
}

static void merge_maps(Merge *m)
{
    const Field *labels = field_named(m->k, "labels"), *annotations = field_named(m->k, "annotations");
    if (labels) {
        CLEANUP_JSON json_t *map = merge_map(m, "labels");
        put_map(m, labels, map);
    }
    if (!annotations)
        return;
    CLEANUP_JSON json_t *map = merge_map(m, "annotations");
    if (json_object_size(m->record))
        json_object_set_new(map, LAST_APPLIED, text_of(m->record));
    else
        json_object_del(map, LAST_APPLIED);
    put_map(m, annotations, map);
}

/* ---- fields ---- */

static void merge_secret(Merge *m, const Field *f, const json_t *want)
{
    Str secret = {json_string_value(want), json_string_length(want)},
        digest = json_get_strv(m->last, f->json);
    if (m->live && secret.len && digest_matches(digest, secret)) {
        json_object_set_new(m->record, f->json, json_strv(digest));
        return;
    }
    json_object_set(m->body, f->json, (json_t *)(uintptr_t)want);
    if (secret.len)
        json_object_set_new(m->record, f->json, new_digest(secret));
}

static int merge_field(Merge *m, const Field *f, const json_t *want)
{
    if (f->flags & F_WRITE_ONLY) {
        merge_secret(m, f, want);
        return 0;
    }
    if (m->live && field_equal(f, want, json_object_get(m->live, f->json)))
        return 0;
    if (m->live && !(f->flags & F_PATCH))
        return err_set(m->err, ERR_INVALID, "%s cannot be changed; delete it first to make it anew", f->json);
    if (!m->live && !(f->flags & F_CREATE))
        return 0;
    if (m->live || !json_is_null(want))
        json_object_set_new(m->body, f->json, wire_value(f, want));
    return 0;
}

static bool is_map(const char *name)
{
    return strcmp(name, "labels") == 0 || strcmp(name, "annotations") == 0;
}

int merge_body(const Kind *k, const json_t *want, const json_t *live, json_t **ret, Err *err)
{
    CLEANUP_JSON json_t *annotations =
        live ? map_of_text(json_object_get(live, "annotations")) : json_object();
    CLEANUP_JSON json_t *last = map_of_text(json_object_get(annotations, LAST_APPLIED));
    CLEANUP_JSON json_t *record = json_object();
    CLEANUP_JSON json_t *body = json_object();
    Merge m = {k, want, live, body, last, record, err};
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)want, key, v)
    {
        int i = kind_field(k, str_from(key)), rc = 0;
        if (i >= 0 && !is_map(key))
            rc = merge_field(&m, &k->fields[i], v);
        if (rc < 0)
            return rc;
    }
    merge_maps(&m);
    *ret = TAKE(body);
    return 0;
}
