/* Walking kustomizations: what they name, where it may lie, and in which order things happen. */
#include "kustomize-internal.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "yaml/yaml.h"

#define LAYERS_MAX 64

static const char *const file_names[] = {"kustomization.yaml", "kustomization.yml", "Kustomization"};

static const char *const members[] = {
    "apiVersion",
    "kind",
    "metadata",
    "resources",
    "bases",
    "components",
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
    "namePrefix",
    "nameSuffix",
    "labels",
    "commonLabels",
    "commonAnnotations",
    "configMapGenerator",
    "generatorOptions",
    "replacements",
};

/* ---- paths ---- */

static bool is_inside(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0' || n == 1);
}

const char *path_shown(const char *path)
{
    char cwd[PATH_MAX];
    if (getcwd(cwd, sizeof(cwd)) && is_inside(path, cwd) && strcmp(path, cwd) != 0)
        return path + strlen(cwd) + 1;
    return path;
}

void layer_note(const Layer *l, const char *fmt, ...)
{
    va_list ap;
    CLEANUP_BUF Buf b = BUF_INIT(64 * 1024);
    va_start(ap, fmt);
    buf_vaddf(&b, fmt, ap);
    va_end(ap);
    fprintf(stderr, "%s: " STR_FMT "\n", l->file, STR_ARG(buf_str(&b)));
}

static bool is_remote(const char *name)
{
    return strstr(name, "://") || strncmp(name, "git@", 4) == 0 || strncmp(name, "github.com/", 11) == 0 ||
           strstr(name, "?ref=");
}

/* Inside a repository everything of it may be named. Elsewhere, as with kustomize, directories may be
   anywhere and files only in a tree that is part of the build. */
static bool is_allowed(const Builder *b, const char *path, bool is_dir)
{
    if (b->o->unrestricted)
        return true;
    if (b->root)
        return is_inside(path, b->root);
    if (is_dir)
        return true;
    VEC_FOREACH (&b->seen, dir) {
        if (is_inside(path, *dir))
            return true;
    }
    return false;
}

int layer_path(Layer *l, const char *name, bool *ret_is_dir, char **ret, Err *err)
{
    char real[PATH_MAX];
    struct stat st;
    if (is_remote(name))
        return err_set(err, ERR_USAGE,
                       "%s: %s: remote bases are not fetched; clone it and name the directory", l->file,
                       name);
    if (name[0] == '/' || !*name)
        return err_set(err, ERR_INVALID, "%s: \"%s\": paths are relative to the kustomization", l->file,
                       name);
    CLEANUP_FREE char *full = path_join(l->dir, name);
    if (!realpath(full, real) || stat(real, &st) < 0) {
        path_failed(name, errno, err);
        return err_wrap(err, "%s", l->file);
    }
    if (!is_allowed(l->b, real, S_ISDIR(st.st_mode)))
        return err_set(err, ERR_FORBIDDEN, "%s: %s is outside %s; --load-restrictor=none allows it", l->file,
                       name, l->b->root ? path_shown(l->b->root) : "the directories of this build");
    *ret_is_dir = S_ISDIR(st.st_mode);
    *ret = xstrdup(real);
    return 0;
}

int layer_read(Layer *l, const char *name, Buf *out, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    bool is_dir;
    int rc = layer_path(l, name, &is_dir, &path, err);
    if (rc == 0 && is_dir)
        rc = err_set(err, ERR_INVALID, "%s: %s is a directory", l->file, name);
    if (rc == 0)
        rc = file_read(path, out, err);
    if (rc == 0 && !str_is_utf8(buf_str(out)))
        rc = err_set(err, ERR_INVALID, "%s: %s is not UTF-8 text", l->file, name);
    return rc;
}

static char *repository_root(const char *dir)
{
    CLEANUP_FREE char *at = xstrdup(dir);
    for (;;) {
        CLEANUP_FREE char *git = path_join(at, ".git");
        if (file_exists(git))
            return TAKE(at);
        char *slash = strrchr(at, '/');
        if (!slash || slash == at)
            return NULL;
        *slash = '\0';
    }
}

/* ---- documents side by side ---- */

static Doc *find_key(const Docs *docs, const char *key)
{
    for (size_t i = 0; i < docs->len; i++) {
        CLEANUP_FREE char *k = doc_key(docs->ptr[i]);
        if (strcmp(k, key) == 0)
            return docs->ptr[i];
    }
    return NULL;
}

static int add_unique(Docs *out, Doc *d, Err *err)
{
    CLEANUP_FREE char *key = doc_key(d);
    const Doc *before = find_key(out, key);
    if (before) {
        int rc = err_set(err, ERR_CONFLICT, "%s is in %s and again in %s", key, before->origin, d->origin);
        doc_free(d);
        return rc;
    }
    docs_add(out, d);
    return 0;
}

static int move_all(Docs *out, Docs *from, Err *err)
{
    int rc = 0;
    for (size_t i = 0; i < from->len; i++) {
        Doc *d = TAKE(from->ptr[i]);
        if (rc == 0)
            rc = add_unique(out, d, err);
        else
            doc_free(d);
    }
    from->len = 0;
    return rc;
}

/* ---- a base, and files of it that select from it ---- */

typedef struct Base {
    const char *name; /* as written */
    char *dir;
    Docs docs;
    size_t chosen; /* by files under resources */
    VEC_OF(bool)
    keep;
} Base;
typedef VEC_OF(Base)
Bases;

static void bases_done(Bases *bases)
{
    VEC_FOREACH (bases, b) {
        free(b->dir);
        docs_done(&b->docs);
        vec_free(&b->keep);
    }
    vec_free(bases);
}

static int build(Builder *b, const char *dir, bool component, Docs *out, Err *err);

static int load_bases(Layer *l, Bases *bases, Err *err)
{
    json_t *list = json_get_arr(l->doc, "bases");
    if (json_array_size(list))
        layer_note(l, "warning: `bases` is deprecated; list the directories under `resources`");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        bool is_dir = false;
        Base base = {.name = name};
        int rc = layer_path(l, name ? name : "", &is_dir, &base.dir, err);
        if (rc == 0 && !is_dir)
            rc = err_set(err, ERR_INVALID, "%s: base %s is not a directory", l->file, name);
        vec_push(bases, base);
        Base *at = &bases->ptr[bases->len - 1];
        if (rc == 0)
            rc = build(l->b, at->dir, false, &at->docs, err);
        if (rc < 0)
            return rc;
        for (size_t k = 0; k < at->docs.len; k++)
            vec_push(&at->keep, false);
    }
    return 0;
}

static Base *base_of_file(Bases *bases, const char *path)
{
    VEC_FOREACH (bases, b) {
        if (is_inside(path, b->dir))
            return b;
    }
    return NULL;
}

/* The published overlays list files of their base to say which of its documents they want. */
static int select_from(Layer *l, Base *base, Docs *file, const char *name, Err *err)
{
    for (size_t i = 0; i < file->len; i++) {
        CLEANUP_FREE char *key = doc_key(file->ptr[i]);
        Doc *found = NULL;
        for (size_t k = 0; k < base->docs.len; k++) {
            CLEANUP_FREE char *other = doc_key(base->docs.ptr[k]);
            if (strcmp(key, other) == 0 || strcmp(base->docs.ptr[k]->origin, file->ptr[i]->origin) == 0) {
                found = base->docs.ptr[k];
                base->chosen += !base->keep.ptr[k];
                base->keep.ptr[k] = true;
            }
        }
        if (!found)
            return err_set(err, ERR_NOT_FOUND, "%s: %s has %s, which base %s does not have", l->file, name,
                           key, base->name);
        if (l->b->o->no_base_selection) { /* literally: the later document takes the earlier one's place */
            json_decref(found->body);
            found->body = json_incref(file->ptr[i]->body);
        }
    }
    return 0;
}

static int take_bases(Layer *l, Bases *bases, Err *err)
{
    int rc = 0;
    VEC_FOREACH (bases, b) {
        bool selects = b->chosen && !l->b->o->no_base_selection;
        if (selects)
            layer_note(l, "note: overlay selects %zu of %zu documents from %s", b->chosen, b->docs.len,
                       b->name);
        for (size_t k = 0; k < b->docs.len; k++) {
            Doc *d = TAKE(b->docs.ptr[k]);
            if (rc == 0 && (!selects || b->keep.ptr[k]))
                rc = add_unique(l->docs, d, err);
            else
                doc_free(d);
        }
        b->docs.len = 0;
    }
    return rc;
}

/* ---- resources and components ---- */

static int add_resource(Layer *l, Bases *bases, const char *name, Docs *own, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_DOCS Docs docs = {0};
    bool is_dir;
    int rc = layer_path(l, name, &is_dir, &path, err);
    if (rc < 0)
        return rc;
    rc = is_dir ? build(l->b, path, false, &docs, err) : docs_load_file(&docs, path_shown(path), true, err);
    if (rc < 0)
        return rc;
    Base *base = is_dir ? NULL : base_of_file(bases, path);
    return base ? select_from(l, base, &docs, name, err) : move_all(own, &docs, err);
}

static int load_resources(Layer *l, Err *err)
{
    CLEANUP(bases_done) Bases bases = {0};
    CLEANUP_DOCS Docs own = {0};
    json_t *list = json_get_arr(l->doc, "resources");
    int rc = load_bases(l, &bases, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        rc = name ? add_resource(l, &bases, name, &own, err)
                  : err_set(err, ERR_INVALID, "%s: resources[%zu] is no path", l->file, i);
    }
    if (rc == 0)
        rc = take_bases(l, &bases, err);
    return rc == 0 ? move_all(l->docs, &own, err) : rc;
}

static int load_components(Layer *l, Err *err)
{
    json_t *list = json_get_arr(l->doc, "components");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        CLEANUP_FREE char *path = NULL;
        bool is_dir = false;
        int rc = layer_path(l, name ? name : "", &is_dir, &path, err);
        if (rc == 0 && !is_dir)
            rc = err_set(err, ERR_INVALID, "%s: component %s is not a directory", l->file, name);
        if (rc == 0)
            rc = build(l->b, path, true, l->docs, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- one layer ---- */

static int find_file(const char *dir, char **ret, Err *err)
{
    CLEANUP_FREE char *found = NULL;
    for (size_t i = 0; i < ARRAY_LEN(file_names); i++) {
        CLEANUP_FREE char *path = path_join(dir, file_names[i]);
        if (!file_exists(path))
            continue;
        if (found)
            return err_set(err, ERR_INVALID, "%s and %s: only one kustomization file may be there",
                           path_shown(found), file_names[i]);
        found = TAKE(path);
    }
    if (!found)
        return err_set(err, ERR_NOT_FOUND, "no kustomization.yaml found in %s", path_shown(dir));
    *ret = TAKE(found);
    return 0;
}

static int check_members(const Layer *l, bool component, Err *err)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)l->doc, key, v)
    {
        bool known = false;
        for (size_t i = 0; i < ARRAY_LEN(members); i++)
            known = known || strcmp(key, members[i]) == 0;
        if (!known)
            return err_set(err, ERR_INVALID, "%s: %s is not supported", l->file, key);
    }
    const char *kind = json_get_str(l->doc, "kind");
    bool is_component = kind && strcmp(kind, "Component") == 0;
    if (kind && !is_component && strcmp(kind, "Kustomization") != 0)
        return err_set(err, ERR_INVALID, "%s: kind is %s, not Kustomization", l->file, kind);
    if (is_component && !component)
        return err_set(err, ERR_INVALID, "%s is a Component: list it under components", l->file);
    if (component && !is_component)
        return err_set(err, ERR_INVALID, "%s is no Component: list it under resources", l->file);
    return 0;
}

static int read_layer(Layer *l, json_t **ret, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_BUF Buf text = BUF_INIT(YAML_SIZE_MAX);
    CLEANUP_JSON json_t *all = NULL;
    int rc = find_file(l->dir, &path, err);
    if (rc < 0)
        return rc;
    l->file = xstrdup(path_shown(path));
    rc = file_read(path, &text, err);
    if (rc == 0)
        rc = yaml_parse_all_as_written(buf_str(&text), &all, err);
    if (rc < 0)
        return err_wrap(err, "%s", l->file);
    json_t *doc = json_array_get(all, 0);
    if (json_array_size(all) > 1 || (doc && !json_is_object(doc) && !json_is_null(doc)))
        return err_set(err, ERR_INVALID, "%s: must be one mapping", l->file);
    if (!json_object_size(doc))
        return err_set(err, ERR_INVALID, "%s is empty", l->file);
    *ret = json_incref(doc);
    return 0;
}

/* In kustomize's order. */
static int run_layer(Layer *l, Err *err)
{
    static int (*const steps[])(Layer *, Err *) = {
        load_resources, load_components, layer_generate,   layer_patch_strategic,
        layer_rename,   layer_label,     layer_patch_json, layer_replace,
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        int rc = steps[i](l, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int enter(Builder *b, const char *dir, Err *err)
{
    VEC_FOREACH (&b->stack, on) {
        if (strcmp(*on, dir) != 0)
            continue;
        CLEANUP_BUF Buf chain = BUF_INIT(400);
        for (char **p = on; p < b->stack.ptr + b->stack.len; p++)
            buf_addf(&chain, "%s -> ", path_shown(*p));
        return err_set(err, ERR_INVALID, "cycle: %s%s", chain.data ? chain.data : "", path_shown(dir));
    }
    if (b->stack.len >= LAYERS_MAX)
        return err_set(err, ERR_INVALID, "kustomizations nested deeper than %d", LAYERS_MAX);
    vec_push(&b->stack, xstrdup(dir));
    vec_push(&b->seen, xstrdup(dir));
    return 0;
}

static int build(Builder *b, const char *dir, bool component, Docs *out, Err *err)
{
    CLEANUP_DOCS Docs docs = {0};
    CLEANUP_JSON json_t *doc = NULL;
    Layer l = {.b = b, .dir = dir, .docs = component ? out : &docs};
    int rc = enter(b, dir, err);
    if (rc < 0)
        return rc;
    rc = read_layer(&l, &doc, err);
    l.doc = doc;
    if (rc == 0)
        rc = check_members(&l, component, err);
    if (rc == 0)
        rc = run_layer(&l, err);
    if (rc == 0 && !component)
        rc = move_all(out, &docs, err);
    free(l.file);
    free(vec_pop(&b->stack));
    return rc;
}

int kustomize_build(const char *dir, const KustomizeOptions *o, Docs *out, Err *err)
{
    char real[PATH_MAX];
    struct stat st;
    if (is_remote(dir))
        return err_set(err, ERR_USAGE, "%s: remote bases are not fetched; clone it and name the directory",
                       dir);
    if (!realpath(dir, real) || stat(real, &st) < 0)
        return path_failed(dir, errno, err);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_USAGE, "%s is not a directory", dir);
    Builder b = {.o = o, .root = repository_root(real)};
    int rc = build(&b, real, false, out, err);
    free(b.root);
    VEC_FOREACH (&b.stack, s)
        free(*s);
    VEC_FOREACH (&b.seen, s)
        free(*s);
    vec_free(&b.stack);
    vec_free(&b.seen);
    return rc;
}
