#include "json/json.h"

#include "base/file.h"
#include "scan-internal.h"

static int refused(const json_error_t *why, Err *err)
{
    switch (json_error_code(why)) {
    case json_error_out_of_memory:
        return err_set(err, ERR_TOO_LARGE, "no memory for a JSON value");
    case json_error_duplicate_key:
        return err_set(err, ERR_MALFORMED, "%s", why->text);
    case json_error_numeric_overflow:
        return err_set(err, ERR_MALFORMED, "number out of range at byte %d", why->position);
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return err_set(err, ERR_MALFORMED, "\\u0000 is not allowed in strings");
    case json_error_invalid_utf8:
        return err_set(err, ERR_MALFORMED, "invalid UTF-8 in string literal");
    default:
        return err_set(err, ERR_MALFORMED, "%s at byte %d", why->text, why->position);
    }
}

static int build(Str text, json_t **ret, Err *err)
{
    json_error_t why;
    json_t *v = json_loadb(text.ptr, text.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
    if (!v)
        return refused(&why, err);
    *ret = v;
    return 0;
}

/* Puts ".0" behind the integers that jansson would refuse, so that it makes reals of them. */
static int build_widened(Str text, const WideInts *wide, json_t **ret, Err *err)
{
    CLEANUP_BUF Buf widened = BUF_INIT(text.len + 2 * wide->len);
    size_t done = 0;
    VEC_FOREACH (wide, end) {
        buf_adds(&widened, str_slice(text, done, *end));
        buf_addz(&widened, ".0");
        done = *end;
    }
    buf_adds(&widened, str_slice(text, done, text.len));
    int r = buf_check(&widened, err);
    return r < 0 ? r : build(buf_str(&widened), ret, err);
}

static void wide_done(WideInts *wide)
{
    vec_free(wide);
}

int json_parse(Str text, json_t **ret, Err *err)
{
    CLEANUP(wide_done) WideInts wide = {0};
    int r = scan_json(text, &wide, err);
    if (r < 0)
        return r;
    return wide.len ? build_widened(text, &wide, ret, err) : build(text, ret, err);
}

int json_parse_file(const char *path, size_t max, json_t **ret, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(max);
    int r = file_read(path, &text, err);
    if (r < 0)
        return r;
    r = json_parse(buf_str(&text), ret, err);
    return r < 0 ? err_wrap(err, "%s", path) : 0;
}

const char *json_get_str(const json_t *obj, const char *key)
{
    return json_string_value(json_object_get(obj, key));
}

Str json_get_strv(const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    return json_is_string(v) ? (Str){json_string_value(v), json_string_length(v)} : STR_NULL;
}

int64_t json_get_int(const json_t *obj, const char *key, int64_t dflt)
{
    const json_t *v = json_object_get(obj, key);
    return json_is_integer(v) ? json_integer_value(v) : dflt;
}

bool json_get_bool(const json_t *obj, const char *key, bool dflt)
{
    const json_t *v = json_object_get(obj, key);
    return json_is_boolean(v) ? json_boolean_value(v) : dflt;
}

json_t *json_get_obj(const json_t *obj, const char *key)
{
    json_t *v = json_object_get(obj, key);
    return json_is_object(v) ? v : NULL;
}

json_t *json_get_arr(const json_t *obj, const char *key)
{
    json_t *v = json_object_get(obj, key);
    return json_is_array(v) ? v : NULL;
}

json_t *json_strv(Str s)
{
    if (str_is_utf8(s))
        return json_stringn_nocheck(s.ptr ? s.ptr : "", s.len);
    CLEANUP_BUF Buf fixed = BUF_INIT(s.len <= SIZE_MAX / 3 ? s.len * 3 : SIZE_MAX);
    for (size_t at = 0; at < s.len;) {
        size_t seq = str_utf8_seq((Str){s.ptr + at, s.len - at});
        if (seq && s.ptr[at] != '\0')
            buf_add(&fixed, s.ptr + at, seq);
        else
            buf_addz(&fixed, "\xef\xbf\xbd");
        at += seq ? seq : 1;
    }
    return fixed.failed ? NULL : json_stringn_nocheck(buf_str(&fixed).ptr, fixed.len);
}
