/* Merging of values: strategic merge without schemas (maps merge, sequences replace, null deletes) and JSON
   Patch, RFC 6902. */
#include <stdint.h>
#include <string.h>
#include "base/mem.h"
#include "kustomize-internal.h"

#define DIRECTIVE "$patch"

static bool has_directive(const json_t *v, const char *word)
{
    const char *d = json_is_object(v) ? json_get_str(v, DIRECTIVE) : NULL;
    return d && strcmp(d, word) == 0;
}

/* A copy without what only directs: nulls and $patch. */
static json_t *plain_copy(const json_t *v)
{
    if (!json_is_object(v))
        return json_deep_copy(v);
    json_t *out = json_object();
    const char *key;
    json_t *one;
    json_object_foreach((json_t *)(uintptr_t)v, key, one)
    {
        if (!json_is_null(one) && strcmp(key, DIRECTIVE) != 0)
            json_object_set_new(out, key, plain_copy(one));
    }
    return out;
}

void merge_strategic(json_t *into, const json_t *patch)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)patch, key, v)
    {
        json_t *old = json_object_get(into, key);
        if (strcmp(key, DIRECTIVE) == 0)
            continue;
        if (json_is_null(v) || has_directive(v, "delete"))
            json_object_del(into, key);
        else if (json_is_object(v) && json_is_object(old) && !has_directive(v, "replace"))
            merge_strategic(old, v);
        else
            json_object_set_new(into, key, plain_copy(v));
    }
}

static bool is_meta_member(const char *key)
{
    return strcmp(key, "name") == 0 || strcmp(key, "labels") == 0 || strcmp(key, "annotations") == 0 ||
           strcmp(key, "project") == 0;
}

static json_t *inner(json_t *out, const char *name)
{
    if (!json_object_get(out, name))
        json_object_set_new(out, name, json_object());
    return json_object_get(out, name);
}

static json_t *nested_of(const json_t *flat)
{
    json_t *out = json_object();
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)flat, key, v)
    {
        if (strcmp(key, "kind") == 0 || strcmp(key, "apiVersion") == 0 || key[0] == '$')
            json_object_set(out, key, v);
        else
            json_object_set(inner(out, is_meta_member(key) ? "metadata" : "spec"), key, v);
    }
    return out;
}

static json_t *flat_of(const json_t *nested)
{
    json_t *out = json_copy((json_t *)(uintptr_t)nested);
    json_object_del(out, "metadata");
    json_object_del(out, "spec");
    json_object_update(out, json_object_get(nested, "metadata"));
    json_object_update(out, json_object_get(nested, "spec"));
    return out;
}

json_t *patch_in_shape(const Doc *target, const json_t *patch)
{
    bool want_nested = json_get_obj(target->body, "metadata") || json_get_obj(target->body, "spec");
    bool is_nested = json_get_obj(patch, "metadata") || json_get_obj(patch, "spec");
    if (want_nested == is_nested)
        return json_incref((json_t *)(uintptr_t)patch);
    return want_nested ? nested_of(patch) : flat_of(patch);
}

/* ---- RFC 6902 ---- */

/* "a~1b" is a/b; caller frees. */
static char *unescape(Str token)
{
    CLEANUP_BUF Buf b = BUF_INIT(64 * 1024);
    for (size_t i = 0; i < token.len; i++) {
        char c = token.ptr[i];
        if (c == '~' && i + 1 < token.len && (token.ptr[i + 1] == '0' || token.ptr[i + 1] == '1'))
            buf_addc(&b, token.ptr[++i] == '0' ? '~' : '/');
        else
            buf_addc(&b, c);
    }
    return buf_take(&b);
}

static bool index_of(const json_t *array, const char *token, bool may_append, size_t *ret)
{
    uint64_t i;
    size_t n = json_array_size(array);
    if (may_append && strcmp(token, "-") == 0) {
        *ret = n;
        return true;
    }
    if (str_to_u64(str_from(token), &i) < 0 || (token[0] == '0' && token[1]) || i >= n + may_append)
        return false;
    *ret = (size_t)i;
    return true;
}

/* The container of the pointer's last token; *ret_key is that token, caller frees. */
static json_t *walk(json_t *doc, const char *pointer, char **ret_key)
{
    Str rest = str_from(pointer);
    json_t *at = doc;
    if (!rest.len || rest.ptr[0] != '/')
        return NULL;
    rest = str_slice(rest, 1, rest.len);
    for (;;) {
        CLEANUP_FREE char *key = unescape(str_cut(&rest, '/'));
        size_t i;
        if (!rest.ptr) {
            *ret_key = TAKE(key);
            return at;
        }
        if (json_is_array(at))
            at = index_of(at, key, false, &i) ? json_array_get(at, i) : NULL;
        else
            at = json_object_get(at, key);
        if (!at)
            return NULL;
    }
}

static json_t *get_at(json_t *doc, const char *pointer)
{
    CLEANUP_FREE char *key = NULL;
    json_t *in = walk(doc, pointer, &key);
    size_t i;
    if (json_is_array(in))
        return index_of(in, key, false, &i) ? json_array_get(in, i) : NULL;
    return in ? json_object_get(in, key) : NULL;
}

static bool remove_at(json_t *doc, const char *pointer)
{
    CLEANUP_FREE char *key = NULL;
    json_t *in = walk(doc, pointer, &key);
    size_t i;
    if (json_is_array(in))
        return index_of(in, key, false, &i) && json_array_remove(in, i) == 0;
    return in && json_object_del(in, key) == 0;
}

static bool put_at(json_t *doc, const char *pointer, const json_t *value, bool replace)
{
    CLEANUP_FREE char *key = NULL;
    json_t *in = walk(doc, pointer, &key);
    size_t i;
    if (json_is_array(in)) {
        if (!index_of(in, key, !replace, &i))
            return false;
        return replace ? json_array_set_new(in, i, json_deep_copy(value)) == 0
                       : json_array_insert_new(in, i, json_deep_copy(value)) == 0;
    }
    if (!json_is_object(in))
        return false;
    /* kustomize replaces what is not there, too, and patches count on it; RFC 6902 would not. */
    return json_object_set_new(in, key, json_deep_copy(value)) == 0;
}

static bool run_operation(json_t *doc, const char *op, const char *path, const char *from,
                          const json_t *value)
{
    if (strcmp(op, "remove") == 0)
        return remove_at(doc, path);
    if (strcmp(op, "add") == 0 || strcmp(op, "replace") == 0)
        return value && put_at(doc, path, value, op[0] == 'r');
    if (strcmp(op, "test") == 0) {
        const json_t *have = get_at(doc, path);
        return value && (have ? json_equal(have, value) : json_is_null(value));
    }
    CLEANUP_JSON json_t *moved = from ? json_incref(get_at(doc, from)) : NULL;
    bool move = strcmp(op, "move") == 0;
    if (!moved || (!move && strcmp(op, "copy") != 0))
        return false;
    return (!move || remove_at(doc, from)) && put_at(doc, path, moved, false);
}

int patch_json(json_t *doc, const json_t *operations, Err *err)
{
    for (size_t i = 0; i < json_array_size(operations); i++) {
        const json_t *o = json_array_get(operations, i);
        const char *op = json_get_str(o, "op"), *path = json_get_str(o, "path");
        if (!op || !path)
            return err_set(err, ERR_INVALID, "operation %zu has no op or no path", i);
        if (!run_operation(doc, op, path, json_get_str(o, "from"), json_object_get(o, "value")))
            return err_set(err, ERR_INVALID, "operation %zu (%s %s) does not fit the document", i, op, path);
    }
    return 0;
}
