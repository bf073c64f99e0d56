/* Which documents a patch is for, and applying it to them. */
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "kustomize-internal.h"
#include "selector.h"
#include "yaml/yaml.h"

#define PATTERN_MAX 1000

/* ---- targets ---- */

typedef enum Part { PART_GROUP, PART_VERSION, PART_KIND, PART_NAME, _PART_MAX } Part;
static const char *const part_names[_PART_MAX] = {"group", "version", "kind", "name"};

struct Target {
    bool given[_PART_MAX];
    regex_t pattern[_PART_MAX];
    Selector *labels, *annotations;
};

Target *target_free(Target *t)
{
    if (!t)
        return NULL;
    for (int i = 0; i < _PART_MAX; i++) {
        if (t->given[i])
            regfree(&t->pattern[i]);
    }
    selector_free(t->labels);
    selector_free(t->annotations);
    free(t);
    return NULL;
}

static int compile(Target *t, Part part, const char *text, Err *err)
{
    if (strlen(text) > PATTERN_MAX)
        return err_set(err, ERR_INVALID, "target.%s is too long", part_names[part]);
    CLEANUP_FREE char *anchored = xasprintf("^(%s)$", text);
    int flags = REG_EXTENDED | REG_NOSUB | (part == PART_KIND ? REG_ICASE : 0);
    if (regcomp(&t->pattern[part], anchored, flags) != 0)
        return err_set(err, ERR_INVALID, "target.%s: \"%s\" is no regular expression", part_names[part],
                       text);
    t->given[part] = true;
    return 0;
}

int target_new(const json_t *spec, Target **ret, Err *err)
{
    CLEANUP(target_freep) Target *t = xnew(Target);
    int rc = 0;
    for (int i = 0; rc == 0 && i < _PART_MAX; i++) {
        const char *text = json_get_str(spec, part_names[i]);
        if (text && *text)
            rc = compile(t, (Part)i, text, err);
    }
    const char *labels = json_get_str(spec, "labelSelector"),
               *annotations = json_get_str(spec, "annotationSelector");
    if (rc == 0 && labels && *labels)
        rc = selector_parse(labels, true, &t->labels, err);
    if (rc == 0 && annotations && *annotations)
        rc = selector_parse(annotations, true, &t->annotations, err);
    if (rc == 0)
        *ret = TAKE(t);
    return rc;
}

static bool part_matches(const Target *t, Part part, Str text)
{
    if (!t->given[part])
        return true;
    CLEANUP_FREE char *z = str_dup(text);
    return regexec(&t->pattern[part], z, 0, NULL, 0) == 0;
}

static bool any_name_matches(const Target *t, const Doc *d)
{
    if (part_matches(t, PART_NAME, doc_name(d)))
        return true;
    for (size_t i = 0; i < json_array_size(d->former); i++) {
        json_t *name = json_array_get(d->former, i);
        if (part_matches(t, PART_NAME, (Str){json_string_value(name), json_string_length(name)}))
            return true;
    }
    return false;
}

/* A selector reads the member `labels`; annotations are put there for it. */
static bool annotations_match(const Selector *s, const Doc *d)
{
    if (!s)
        return true;
    CLEANUP_JSON json_t *as_labels = json_object();
    json_object_set(as_labels, "labels", json_object_get(doc_meta(d), "annotations"));
    return selector_matches(s, as_labels);
}

bool target_matches(const Target *t, const Doc *d)
{
    Str version = json_get_strv(d->body, "apiVersion"), group = STR_NULL;
    bool has_version = version.len > 0; /* flat documents say none: any is meant */
    if (str_find_byte(version, '/') >= 0)
        group = str_cut(&version, '/');
    return (!has_version || (part_matches(t, PART_GROUP, group) && part_matches(t, PART_VERSION, version))) &&
           part_matches(t, PART_KIND, doc_kind(d)) && any_name_matches(t, d) &&
           selector_matches(t->labels, doc_meta(d)) && annotations_match(t->annotations, d);
}

bool doc_has_name(const Doc *d, const char *name)
{
    if (str_eqz(doc_name(d), name))
        return true;
    for (size_t i = 0; i < json_array_size(d->former); i++) {
        if (strcmp(json_string_value(json_array_get(d->former, i)), name) == 0)
            return true;
    }
    return false;
}

/* ---- one patch ---- */

typedef struct Patch {
    const char *where; /* its file, or "inline patch", for messages */
    Docs docs;
    json_t *operations; /* JSON 6902; NULL = strategic */
    Target *target;     /* NULL = the documents' own identity */
    bool may_rename;
} Patch;

static void patch_done(Patch *p)
{
    docs_done(&p->docs);
    json_decref(p->operations);
    target_free(p->target);
}

/* A sequence is JSON 6902, mappings are strategic. */
static int read_patch(Patch *p, Str text, Err *err)
{
    CLEANUP_JSON json_t *all = NULL;
    int rc = yaml_parse_all(text, &all, err);
    if (rc < 0)
        return err_wrap(err, "%s", p->where);
    if (json_is_array(json_array_get(all, 0))) {
        p->operations = json_incref(json_array_get(all, 0));
        return 0;
    }
    rc = docs_parse(&p->docs, text, p->where, NULL, false, err);
    if (rc == 0 && !p->docs.len)
        rc = err_set(err, ERR_INVALID, "%s: is empty", p->where);
    return rc;
}

static void restore_identity(Doc *d, const json_t *before, const Patch *p)
{
    static const char *const fixed[] = {"kind", "apiVersion"};
    json_t *meta = doc_meta(d);
    Str name =
        json_get_strv(json_get_obj(before, "metadata") ? json_get_obj(before, "metadata") : before, "name");
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        if (json_object_get(before, fixed[i]))
            json_object_set(d->body, fixed[i], json_object_get(before, fixed[i]));
        else
            json_object_del(d->body, fixed[i]);
    }
    if (p->may_rename || str_eq(name, json_get_strv(meta, "name")))
        return;
    if (name.ptr)
        json_object_set_new(meta, "name", json_strv(name));
    else
        json_object_del(meta, "name");
}

static void delete_doc(Docs *docs, size_t i)
{
    doc_free(docs->ptr[i]);
    for (; i + 1 < docs->len; i++)
        docs->ptr[i] = docs->ptr[i + 1];
    docs->len--;
}

/* Says whether the document is still there: a patch may delete it. */
static bool merge_doc(Layer *l, size_t i, const Patch *p, const Doc *patch)
{
    Doc *d = l->docs->ptr[i];
    const char *directive = json_get_str(patch->body, "$patch");
    if (directive && strcmp(directive, "delete") == 0) {
        delete_doc(l->docs, i);
        return false;
    }
    Str name = doc_name(patch);
    CLEANUP_FREE char *new_name = str_dup(name);
    /* With an apiVersion it is kustomize's own form, which must have some name. */
    if (p->target && !p->may_rename && name.len && !doc_has_name(d, new_name) &&
        !json_object_get(patch->body, "apiVersion"))
        layer_note(l, "warning: %s: a patch does not rename " STR_FMT, p->where, STR_ARG(doc_name(d)));
    CLEANUP_JSON json_t *before = json_deep_copy(d->body);
    CLEANUP_JSON json_t *shaped = patch_in_shape(d, patch->body);
    merge_strategic(d->body, shaped);
    if (json_get_obj(before, "metadata") && !json_get_obj(d->body, "metadata"))
        json_object_set_new(d->body, "metadata", json_object());
    restore_identity(d, before, p);
    return true;
}

static bool has_identity(const Doc *d, const Doc *patch)
{
    CLEANUP_FREE char *name = str_dup(doc_name(patch));
    Str a = json_get_strv(d->body, "apiVersion"), b = json_get_strv(patch->body, "apiVersion");
    if (manifest_kind(doc_kind(d)) && manifest_kind(doc_kind(d))->identity) {
        CLEANUP_FREE char *x = doc_key(d);
        CLEANUP_FREE char *y = doc_key(patch);
        return strcmp(x, y) == 0;
    }
    return str_ieq(doc_kind(d), doc_kind(patch)) && doc_has_name(d, name) &&
           (!a.len || !b.len || str_eq(a, b));
}

static int patch_by_identity(Layer *l, const Patch *p, Err *err)
{
    for (size_t k = 0; k < p->docs.len; k++) {
        const Doc *patch = p->docs.ptr[k];
        size_t i = 0;
        while (i < l->docs->len && !has_identity(l->docs->ptr[i], patch))
            i++;
        if (i == l->docs->len) {
            CLEANUP_FREE char *key = doc_key(patch);
            return err_set(err, ERR_NOT_FOUND, "%s: %s: no document for patch %s", l->file, p->where, key);
        }
        merge_doc(l, i, p, patch);
    }
    return 0;
}

static int patch_one(Layer *l, size_t *i, const Patch *p, Err *err)
{
    Doc *d = l->docs->ptr[*i];
    if (p->operations) {
        CLEANUP_JSON json_t *before = json_deep_copy(d->body);
        int rc = patch_json(d->body, p->operations, err);
        if (rc == 0 && json_is_object(d->body))
            restore_identity(d, before, p);
        return rc < 0 ? err_wrap(err, "%s: %s", l->file, p->where) : 0;
    }
    for (size_t k = 0; k < p->docs.len; k++) {
        if (!merge_doc(l, *i, p, p->docs.ptr[k])) {
            (*i)--; /* the next one has moved here; an unsigned wrap is undone by the caller's step */
            break;
        }
    }
    return 0;
}

static int patch_by_target(Layer *l, const Patch *p, Err *err)
{
    size_t matched = 0;
    for (size_t i = 0; i < l->docs->len; i++) {
        if (!target_matches(p->target, l->docs->ptr[i]))
            continue;
        matched++;
        int rc = patch_one(l, &i, p, err);
        if (rc < 0)
            return rc;
    }
    if (!matched && l->b->o->strict)
        return err_set(err, ERR_NOT_FOUND, "%s: %s: the target matches nothing", l->file, p->where);
    if (!matched)
        layer_note(l, "warning: %s: the target matches nothing", p->where);
    return 0;
}

static int apply_patch(Layer *l, Patch *p, Err *err)
{
    if (p->target)
        return patch_by_target(l, p, err);
    if (p->operations)
        return err_set(err, ERR_INVALID, "%s: %s: a JSON 6902 patch needs a target", l->file, p->where);
    return patch_by_identity(l, p, err);
}

/* {path | patch, target, options} */
static int run_patch(Layer *l, const json_t *spec, Err *err)
{
    CLEANUP(patch_done) Patch p = {.where = "inline patch"};
    CLEANUP_BUF Buf text = BUF_INIT(YAML_SIZE_MAX);
    const char *path = json_get_str(spec, "path"), *inline_text = json_get_str(spec, "patch");
    const json_t *target = json_get_obj(spec, "target");
    const char *rename = json_get_str(json_get_obj(spec, "options"), "allowNameChange");
    if (!json_is_object(spec) || !path == !inline_text)
        return err_set(err, ERR_INVALID, "%s: a patch has either path or patch", l->file);
    p.where = path ? path : p.where;
    p.may_rename = rename && strcmp(rename, "true") == 0;
    int rc = path ? layer_read(l, path, &text, err) : 0;
    if (rc == 0)
        rc = read_patch(&p, path ? buf_str(&text) : str_from(inline_text), err);
    if (rc == 0 && target)
        rc = target_new(target, &p.target, err);
    return rc < 0 ? err_wrap(err, "patch") : apply_patch(l, &p, err);
}

static int run_patches(Layer *l, const char *member, Err *err)
{
    json_t *list = json_get_arr(l->doc, member);
    for (size_t i = 0; i < json_array_size(list); i++) {
        int rc = run_patch(l, json_array_get(list, i), err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Entries are paths, or the patch itself. */
static int run_strategic(Layer *l, const char *entry, Err *err)
{
    CLEANUP_JSON json_t *spec = json_object();
    bool is_text = strchr(entry, '\n') != NULL;
    json_object_set_new(spec, is_text ? "patch" : "path", json_string(entry));
    return run_patch(l, spec, err);
}

int layer_patch_strategic(Layer *l, Err *err)
{
    json_t *list = json_get_arr(l->doc, "patchesStrategicMerge");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *entry = json_string_value(json_array_get(list, i));
        int rc = entry ? run_strategic(l, entry, err)
                       : err_set(err, ERR_INVALID, "%s: patchesStrategicMerge[%zu] is no text", l->file, i);
        if (rc < 0)
            return rc;
    }
    return run_patches(l, "patches", err);
}

int layer_patch_json(Layer *l, Err *err)
{
    return run_patches(l, "patchesJson6902", err);
}
