/*
 * JSON values that we keep as text (labels, repos, conditions ...). A value sent as JSON is stored in one
 * canonical form: compact, keys in byte order, strings and numbers as json_write() prints them.
 */
#include "json-text-internal.h"
#include "base/vec.h"

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void write_object(Buf *out, const json_t *v);

static void write_array(Buf *out, const json_t *v)
{
    buf_addc(out, '[');
    for (size_t i = 0; i < json_array_size(v); i++) {
        if (i)
            buf_addc(out, ',');
        json_text_write(out, json_array_get(v, i));
    }
    buf_addc(out, ']');
}

void json_text_write(Buf *out, const json_t *v)
{
    if (json_is_object(v))
        write_object(out, v);
    else if (json_is_array(v))
        write_array(out, v);
    else
        json_write(out, v);
}

static void write_object(Buf *out, const json_t *v)
{
    VEC_OF(const char *)
    keys = {0};
    for (void *it = json_object_iter(json_unconst(v)); it; it = json_object_iter_next(json_unconst(v), it))
        vec_push(&keys, json_object_iter_key(it));
    if (keys.len)
        qsort(keys.ptr, keys.len, sizeof(*keys.ptr), by_bytes);
    bool first = true;
    buf_addc(out, '{');
    VEC_FOREACH (&keys, key) {
        if (!first)
            buf_addc(out, ',');
        first = false;
        json_write_str(out, str_from(*key));
        buf_addc(out, ':');
        json_text_write(out, json_object_get(v, *key));
    }
    buf_addc(out, '}');
    vec_free(&keys);
}

const json_t *json_text_first_non_string(const json_t *object)
{
    for (void *it = json_object_iter(json_unconst(object)); it;
         it = json_object_iter_next(json_unconst(object), it))
        if (!json_is_string(json_object_iter_value(it)))
            return json_object_iter_value(it);
    return NULL;
}
