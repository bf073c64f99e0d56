#include "conditions.h"

#include <assert.h>
#include <string.h>

/* Only ours and a few of others fit in here; a longer list is no list of conditions. */
#define CONDITIONS_MAX 32

static bool is_condition_list(const json_t *j)
{
    if (!json_is_array(j) || json_array_size(j) > CONDITIONS_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(j); i++)
        if (!json_get_str(json_array_get(j, i), "type"))
            return false;
    return true;
}

void conditions_init(Conditions *c, Str text, WallUsec now)
{
    *c = (Conditions){0};
    rfc3339_format(now, c->now);
    json_t *j = NULL;
    if (text.len > 0 && json_parse(text, &j, NULL) == 0 && is_condition_list(j)) {
        c->list = j;
        return;
    }
    json_decref(j);
    c->list = json_array();
}

void conditions_done(Conditions *c)
{
    json_decref(c->list);
    c->list = NULL;
}

static json_t *find(const Conditions *c, const char *type)
{
    for (size_t i = 0; i < json_array_size(c->list); i++) {
        json_t *o = json_array_get(c->list, i);
        if (strcmp(json_get_str(o, "type"), type) == 0)
            return o;
    }
    return NULL;
}

bool conditions_has(const Conditions *c, const char *type)
{
    return find(c, type) != NULL;
}

static bool set_text(json_t *o, const char *key, const char *value)
{
    const char *old = json_get_str(o, key);
    if (old && strcmp(old, value) == 0)
        return false;
    json_object_set_new(o, key, json_strv(str_from(value)));
    return true;
}

void conditions_set(Conditions *c, const char *type, bool status, const char *reason, const char *message)
{
    assert(type && reason);
    json_t *o = find(c, type);
    if (!o) {
        o = json_object();
        json_array_append_new(c->list, o);
        set_text(o, "type", type);
    }
    bool moved = set_text(o, "status", status ? "True" : "False");
    bool changed = set_text(o, "reason", reason);
    changed = set_text(o, "message", message ? message : "") || changed;
    if (moved)
        set_text(o, "lastTransitionTime", c->now);
    c->changed = c->changed || moved || changed;
}

void conditions_write(const Conditions *c, Buf *out)
{
    json_write(out, c->list);
}
