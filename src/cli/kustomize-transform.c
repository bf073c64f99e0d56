/* Names, labels and generated values: what happens to all documents of a layer. */
#include <stdio.h>
#include <string.h>
#include "base/map.h"
#include "base/mem.h"
#include "kustomize-internal.h"

#define VALUE_MAX (4 * 1024 * 1024)

/* ---- namePrefix, nameSuffix; what refers to a renamed document follows ---- */

typedef struct Rename {
    Layer *l;
    const char *prefix, *suffix;
    Map *names; /* "agent/lead" -> "dev-lead", owned */
} Rename;

static const char *noun_of(const Doc *d)
{
    const ManifestKind *k = manifest_kind(doc_kind(d));
    return k ? k->noun : NULL;
}

static void rename_doc(Rename *r, Doc *d)
{
    Str old = doc_name(d);
    if (!old.len)
        return;
    CLEANUP_FREE char *before = str_dup(old);
    CLEANUP_FREE char *name = xasprintf("%s%s%s", r->prefix, before, r->suffix);
    const char *noun = noun_of(d);
    if (noun) {
        CLEANUP_FREE char *key = xasprintf("%s/%s", noun, before);
        free(map_put(r->names, str_from(key), xstrdup(name)));
    }
    d->former = d->former ? d->former : json_array();
    json_array_append_new(d->former, json_string(before));
    json_t *in = json_get_strv(doc_meta(d), "name").ptr ? doc_meta(d) : d->body;
    json_object_set_new(in, "name", json_string(name));
}

static void follow(Rename *r, json_t *in, const char *member, const char *noun)
{
    const char *name = in && noun ? json_get_str(in, member) : NULL;
    if (!name)
        return;
    CLEANUP_FREE char *key = xasprintf("%s/%s", noun, name);
    const char *now = map_get(r->names, str_from(key));
    if (now)
        json_object_set_new(in, member, json_string(now));
}

static void follow_refs(Rename *r, Doc *d)
{
    const ManifestKind *k = manifest_kind(doc_kind(d));
    json_t *spec = doc_spec(d);
    for (const ManifestRef *ref = k ? k->refs : NULL; ref && ref->member; ref++) {
        follow(r, spec, ref->member, ref->noun);
        follow(r, spec, ref->field, ref->noun);
    }
    if (!k)
        return;
    static const char *const projects[] = {"project", "project_id", "destination_project"};
    for (size_t i = 0; i < ARRAY_LEN(projects); i++) {
        follow(r, spec, projects[i], "project");
        follow(r, doc_meta(d), projects[i], "project");
    }
    follow(r, json_get_obj(spec, "destination"), "project", "project");
    follow(r, json_get_obj(spec, "destination"), "credential", "credential");
    follow(r, spec, "scope_id", json_get_str(spec, "scope"));
}

int layer_rename(Layer *l, Err *err)
{
    Rename r = {l, json_get_str(l->doc, "namePrefix"), json_get_str(l->doc, "nameSuffix"), map_new()};
    r.prefix = r.prefix ? r.prefix : "";
    r.suffix = r.suffix ? r.suffix : "";
    if (*r.prefix || *r.suffix) {
        for (size_t i = 0; i < l->docs->len; i++)
            rename_doc(&r, l->docs->ptr[i]);
        for (size_t i = 0; i < l->docs->len; i++)
            follow_refs(&r, l->docs->ptr[i]);
    }
    MAP_FOREACH (r.names, it)
        free(it.value);
    map_free(r.names);
    return 0;
}

/* ---- labels and annotations ---- */

static int check_pairs(const Layer *l, const char *member, const json_t *pairs, Err *err)
{
    const char *key;
    json_t *v;
    if (pairs && !json_is_null(pairs) && !json_is_object(pairs))
        return err_set(err, ERR_INVALID, "%s: %s must be a mapping of texts", l->file, member);
    json_object_foreach((json_t *)(uintptr_t)pairs, key, v)
    {
        if (!json_is_string(v))
            return err_set(err, ERR_INVALID, "%s: %s.%s must be a text", l->file, member, key);
    }
    return 0;
}

static int add_pairs(Layer *l, const char *member, const char *into, const json_t *pairs, Err *err)
{
    int rc = check_pairs(l, member, pairs, err);
    for (size_t i = 0; rc == 0 && json_object_size(pairs) && i < l->docs->len; i++) {
        json_t *meta = doc_meta(l->docs->ptr[i]);
        if (!json_get_obj(meta, into))
            json_object_set_new(meta, into, json_object());
        json_object_update(json_get_obj(meta, into), (json_t *)(uintptr_t)pairs);
    }
    return rc;
}

int layer_label(Layer *l, Err *err)
{
    json_t *list = json_get_arr(l->doc, "labels");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        if (json_object_get(one, "fields"))
            return err_set(err, ERR_INVALID, "%s: labels[%zu].fields is not supported", l->file, i);
        int rc = add_pairs(l, "labels.pairs", "labels", json_object_get(one, "pairs"), err);
        if (rc < 0)
            return rc;
    }
    int rc = add_pairs(l, "commonLabels", "labels", json_object_get(l->doc, "commonLabels"), err);
    return rc < 0 ? rc
                  : add_pairs(l, "commonAnnotations", "annotations",
                              json_object_get(l->doc, "commonAnnotations"), err);
}

/* ---- configMapGenerator: values for replacements. They carry no hash and are never sent. ---- */

static int put_value(const Layer *l, json_t *data, Str key, Str value, Err *err)
{
    CLEANUP_FREE char *k = str_dup(str_trim(key));
    if (!*k || json_object_get(data, k))
        return err_set(err, ERR_INVALID, "%s: configMapGenerator: key \"%s\" is empty or given twice",
                       l->file, k);
    json_object_set_new(data, k, json_strv(value));
    return 0;
}

static int add_literals(const Layer *l, const json_t *spec, json_t *data, Err *err)
{
    json_t *list = json_get_arr(spec, "literals");
    for (size_t i = 0; i < json_array_size(list); i++) {
        Str value = str_from(json_string_value(json_array_get(list, i))), key = str_cut(&value, '=');
        if (!value.ptr)
            return err_set(err, ERR_INVALID, "%s: configMapGenerator: a literal is KEY=VALUE", l->file);
        char quote = value.len > 1 ? value.ptr[0] : 0;
        if ((quote == '"' || quote == '\'') && value.ptr[value.len - 1] == quote)
            value = str_slice(value, 1, value.len - 1);
        int rc = put_value(l, data, key, value, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int add_files(Layer *l, const json_t *spec, json_t *data, Err *err)
{
    json_t *list = json_get_arr(spec, "files");
    for (size_t i = 0; i < json_array_size(list); i++) {
        CLEANUP_BUF Buf text = BUF_INIT(VALUE_MAX);
        const char *entry = json_string_value(json_array_get(list, i));
        Str path = str_from(entry ? entry : ""), key = str_cut(&path, '=');
        if (!path.ptr) {
            const char *slash = entry ? strrchr(entry, '/') : NULL;
            path = key;
            key = slash ? str_from(slash + 1) : key;
        }
        CLEANUP_FREE char *name = str_dup(path);
        int rc = layer_read(l, name, &text, err);
        if (rc == 0)
            rc = put_value(l, data, key, buf_str(&text), err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Lines KEY=VALUE; a KEY alone takes the environment's value. */
static int add_env_lines(const Layer *l, Str text, json_t *data, Err *err)
{
    while (text.ptr) {
        Str value = str_cut(&text, '\n');
        if (value.len && value.ptr[value.len - 1] == '\r')
            value.len--;
        Str start = str_trim(value);
        if (!start.len || start.ptr[0] == '#')
            continue;
        value = str_slice(value, (size_t)(start.ptr - value.ptr), value.len);
        Str key = str_cut(&value, '=');
        CLEANUP_FREE char *name = str_dup(str_trim(key));
        const char *env = value.ptr ? NULL : getenv(name);
        if (!value.ptr && !env)
            return err_set(err, ERR_USAGE, "%s: configMapGenerator: environment variable %s is not set",
                           l->file, name);
        int rc = put_value(l, data, key, env ? str_from(env) : value, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int add_envs(Layer *l, const json_t *spec, json_t *data, Err *err)
{
    CLEANUP_JSON json_t *list = json_array();
    if (json_get_str(spec, "env"))
        json_array_append(list, json_object_get(spec, "env"));
    json_array_extend(list, json_get_arr(spec, "envs"));
    for (size_t i = 0; i < json_array_size(list); i++) {
        CLEANUP_BUF Buf text = BUF_INIT(VALUE_MAX);
        const char *name = json_string_value(json_array_get(list, i));
        int rc = layer_read(l, name ? name : "", &text, err);
        if (rc == 0)
            rc = add_env_lines(l, buf_str(&text), data, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Labels, annotations and immutability, as written: booleans are texts here. The generator's own win. */
static void add_options(json_t *body, const json_t *options)
{
    static const char *const maps[] = {"labels", "annotations"};
    const char *immutable = json_get_str(options, "immutable");
    json_t *meta = json_get_obj(body, "metadata");
    for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
        json_t *given = json_get_obj(options, maps[i]), *have = json_get_obj(meta, maps[i]);
        if (given && have)
            json_object_update(have, given);
        else if (given)
            json_object_set_new(meta, maps[i], json_deep_copy(given));
    }
    if (immutable && strcmp(immutable, "true") == 0)
        json_object_set_new(body, "immutable", json_true());
}

static int generate(Layer *l, const json_t *spec, Err *err)
{
    static const char *const known[] = {"name", "files", "literals", "envs", "env", "options"};
    const char *key, *name = json_get_str(spec, "name");
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)spec, key, v)
    {
        bool ok = false;
        for (size_t i = 0; i < ARRAY_LEN(known); i++)
            ok = ok || strcmp(key, known[i]) == 0;
        if (!ok)
            return err_set(err, ERR_INVALID, "%s: configMapGenerator.%s is not supported", l->file, key);
    }
    if (!name || !*name)
        return err_set(err, ERR_INVALID, "%s: configMapGenerator: name is required", l->file);
    CLEANUP_JSON json_t *data = json_object();
    int rc = add_envs(l, spec, data, err);
    if (rc == 0)
        rc = add_files(l, spec, data, err);
    if (rc == 0)
        rc = add_literals(l, spec, data, err);
    if (rc < 0)
        return rc;
    json_t *body = json_pack("{s:s, s:O, s:s, s:{s:s}}", "apiVersion", "v1", "data", data, "kind",
                             "ConfigMap", "metadata", "name", name);
    add_options(body, json_get_obj(l->doc, "generatorOptions"));
    add_options(body, json_get_obj(spec, "options"));
    Doc *d = doc_new(body, l->file, l->dir);
    d->local = true;
    docs_add(l->docs, d);
    return 0;
}

int layer_generate(Layer *l, Err *err)
{
    json_t *list = json_get_arr(l->doc, "configMapGenerator");
    for (size_t i = 0; i < json_array_size(list); i++) {
        int rc = generate(l, json_array_get(list, i), err);
        if (rc < 0)
            return rc;
    }
    return 0;
}
