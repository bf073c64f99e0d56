#include <string.h>
#include "kube-internal.h"

static const char *meta(const json_t *object, const char *key)
{
    const char *s = json_get_str(json_get_obj(object, "metadata"), key);
    return s ? s : "";
}

const char *kube_name(const json_t *object)
{
    return meta(object, "name");
}

const char *kube_namespace(const json_t *object)
{
    return meta(object, "namespace");
}

const char *kube_uid(const json_t *object)
{
    return meta(object, "uid");
}

const char *kube_version(const json_t *object)
{
    return meta(object, "resourceVersion");
}

const char *kube_label(const json_t *object, const char *key)
{
    return json_get_str(json_get_obj(json_get_obj(object, "metadata"), "labels"), key);
}

const char *kube_annotation(const json_t *object, const char *key)
{
    return json_get_str(json_get_obj(json_get_obj(object, "metadata"), "annotations"), key);
}

bool kube_deleting(const json_t *object)
{
    return *meta(object, "deletionTimestamp") != '\0';
}

WallUsec kube_time(const json_t *object, const char *key)
{
    WallUsec t = {0};
    Str s = json_get_strv(object, key);
    if (s.len > 0 && rfc3339_parse(s, &t) < 0)
        return (WallUsec){0};
    return t;
}

WallUsec kube_created(const json_t *object)
{
    return kube_time(json_get_obj(object, "metadata"), "creationTimestamp");
}

static bool contains(const json_t *have, const json_t *want, unsigned depth);

static bool list_contains(const json_t *have, const json_t *want, unsigned depth)
{
    if (json_array_size(have) != json_array_size(want))
        return false;
    for (size_t i = 0; i < json_array_size(want); i++)
        if (!contains(json_array_get(have, i), json_array_get(want, i), depth))
            return false;
    return true;
}

/* The server leaves out what is empty. */
static bool is_empty(const json_t *v)
{
    return json_is_null(v) || (json_is_object(v) && json_object_size(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0);
}

static bool object_contains(const json_t *have, const json_t *want, unsigned depth)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)want, key, value)
    {
        const json_t *other = json_object_get(have, key);
        if (!other ? !is_empty(value) : !contains(other, value, depth))
            return false;
    }
    return true;
}

static bool contains(const json_t *have, const json_t *want, unsigned depth)
{
    if (depth > JSON_DEPTH_MAX || json_typeof(have) != json_typeof(want))
        return false;
    if (json_is_object(want))
        return object_contains(have, want, depth + 1);
    if (json_is_array(want))
        return list_contains(have, want, depth + 1);
    return json_equal(have, want);
}

bool kube_contains(const json_t *have, const json_t *want)
{
    return have && want && contains(have, want, 0);
}
