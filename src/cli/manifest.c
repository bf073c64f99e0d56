#include "manifest.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/file.h"
#include "base/mem.h"
#include "yaml/yaml.h"

#define DOCS_MAX 20000
#define DEPTH_MAX 32 /* of directories */

Doc *doc_new(json_t *body, const char *origin, const char *dir)
{
    Doc *d = xnew(Doc);
    d->body = body;
    d->origin = xstrdup(origin);
    d->dir = dir ? xstrdup(dir) : NULL;
    return d;
}

Doc *doc_free(Doc *d)
{
    if (!d)
        return NULL;
    json_decref(d->body);
    json_decref(d->lines);
    json_decref(d->former);
    free(d->origin);
    free(d->dir);
    free(d);
    return NULL;
}

Doc *doc_dup(const Doc *d)
{
    Doc *copy = doc_new(json_deep_copy(d->body), d->origin, d->dir);
    copy->lines = d->lines ? json_incref(d->lines) : NULL;
    copy->former = d->former ? json_deep_copy(d->former) : NULL;
    copy->local = d->local;
    return copy;
}

void docs_done(Docs *d)
{
    VEC_FOREACH (d, one)
        doc_free(*one);
    vec_free(d);
}

void docs_add(Docs *d, Doc *one)
{
    vec_push(d, one);
}

/* ---- where a document keeps what ---- */

Str doc_kind(const Doc *d)
{
    return json_get_strv(d->body, "kind");
}

json_t *doc_meta(const Doc *d)
{
    json_t *meta = json_get_obj(d->body, "metadata");
    return meta ? meta : d->body;
}

json_t *doc_spec(const Doc *d)
{
    json_t *spec = json_get_obj(d->body, "spec");
    return spec ? spec : d->body;
}

Str doc_name(const Doc *d)
{
    Str name = json_get_strv(doc_meta(d), "name");
    return name.ptr ? name : json_get_strv(d->body, "name");
}

int doc_line(const Doc *d, const char *member)
{
    return d->lines ? (int)json_get_int(d->lines, member, 0) : 0;
}

/* Members of a binding as a document may spell them: for telling two bindings apart. */
static void add_identity(Buf *key, const Doc *d)
{
    static const char *const members[] = {"role",       "role_id",    "scope",        "scope_id", "user",
                                          "user_id",    "project",    "agent",        "agent_id", "session",
                                          "session_id", "credential", "credential_id"};
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        Str v = json_get_strv(doc_spec(d), members[i]);
        if (v.len)
            buf_addf(key, "/%s=" STR_FMT, members[i], STR_ARG(v));
    }
}

char *doc_key(const Doc *d)
{
    CLEANUP_BUF Buf b = BUF_INIT(64 * 1024);
    const ManifestKind *k = manifest_kind(doc_kind(d));
    Str project = json_get_strv(doc_meta(d), "project"), name = doc_name(d);
    if (k && k->identity) {
        buf_addf(&b, "%s", k->noun);
        add_identity(&b, d);
    } else {
        Str kind = k ? str_from(k->name) : doc_kind(d);
        for (size_t i = 0; i < kind.len; i++)
            buf_addc(&b, (char)(kind.ptr[i] | 0x20));
        buf_addf(&b, "/" STR_FMT, STR_ARG(name));
    }
    if (project.len)
        buf_addf(&b, " (project " STR_FMT ")", STR_ARG(project));
    return buf_take(&b);
}

/* ---- reading ---- */

/* Whether a member is a text or a map of texts, so that what was written counts: 1.10 is no number there. */
static bool is_text_member(const ManifestKind *k, const char *member)
{
    static const char *const always[] = {"name", "labels", "annotations", "project", "environment", "pairs"};
    for (size_t i = 0; i < ARRAY_LEN(always); i++) {
        if (strcmp(member, always[i]) == 0)
            return true;
    }
    const Kind *t = k ? manifest_table(k) : NULL;
    int f = t ? kind_field(t, str_from(member)) : -1;
    return f >= 0 && (t->fields[f].type == FT_STRING || t->fields[f].flags & F_STRING_MAP);
}

static void keep_written(const ManifestKind *k, json_t *body, const json_t *written)
{
    const char *key;
    json_t *v;
    void *next;
    json_object_foreach_safe(body, next, key, v)
    {
        json_t *text = json_object_get(written, key);
        if (!text)
            continue;
        if (strcmp(key, "metadata") == 0 || strcmp(key, "spec") == 0)
            keep_written(k, v, text);
        else if (is_text_member(k, key))
            json_object_set(body, key, text);
    }
}

static int add_body(Docs *out, json_t *body, const json_t *written, json_t *lines, const char *origin,
                    const char *dir, Err *err)
{
    if (out->len >= DOCS_MAX)
        return err_set(err, ERR_TOO_LARGE, "%s: more than %d documents", origin, DOCS_MAX);
    Doc *d = doc_new(json_incref(body), origin, dir);
    d->lines = lines ? json_incref(lines) : NULL;
    keep_written(manifest_kind(doc_kind(d)), body, written);
    docs_add(out, d);
    return 0;
}

static int add_list(Docs *out, const json_t *list, const json_t *written, const char *origin, const char *dir,
                    Err *err)
{
    json_t *items = json_get_arr(list, "items"), *texts = json_get_arr(written, "items");
    for (size_t i = 0; i < json_array_size(items); i++) {
        json_t *one = json_array_get(items, i);
        if (!json_is_object(one))
            return err_set(err, ERR_INVALID, "%s: items[%zu] of the List is no mapping", origin, i);
        int rc = add_body(out, one, json_array_get(texts, i), NULL, origin, dir, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static const char *const type_names[] = {"a mapping", "a sequence", "a text",    "a number",
                                         "a number",  "a boolean",  "a boolean", "nothing"};

int docs_parse(Docs *out, Str text, const char *origin, const char *dir, bool need_kind, Err *err)
{
    CLEANUP_JSON json_t *all = NULL;
    CLEANUP_JSON json_t *written = NULL;
    int rc = yaml_parse_all(text, &all, err);
    if (rc == 0)
        rc = yaml_parse_all_as_written(text, &written, err);
    if (rc < 0)
        return err_wrap(err, "%s: parse YAML", origin);
    CLEANUP_JSON json_t *lines = yaml_member_lines(text);
    for (size_t i = 0; rc == 0 && i < json_array_size(all); i++) {
        json_t *body = json_array_get(all, i);
        if (json_is_null(body))
            continue;
        if (!json_is_object(body))
            return err_set(err, ERR_INVALID, "%s: document %zu is %s, not a mapping", origin, i + 1,
                           type_names[json_typeof(body)]);
        Str kind = json_get_strv(body, "kind");
        if (need_kind && !kind.len)
            continue;
        if (str_eqz(kind, "List") ||
            (need_kind && json_get_arr(body, "items") && str_ends(kind, STR("List"))))
            rc = add_list(out, body, json_array_get(written, i), origin, dir, err);
        else
            rc = add_body(out, body, json_array_get(written, i), json_array_get(lines, i), origin, dir, err);
    }
    return rc;
}

static char *dir_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == path ? xstrdup("/") : slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
}

int docs_load_file(Docs *out, const char *path, bool need_kind, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(YAML_SIZE_MAX);
    CLEANUP_FREE char *dir = dir_of(path);
    int rc = file_read(path, &text, err);
    return rc < 0 ? rc : docs_parse(out, buf_str(&text), path, dir, need_kind, err);
}

static int load_stdin(Docs *out, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(YAML_SIZE_MAX);
    char chunk[8192];
    size_t n;
    while ((n = fread(chunk, 1, sizeof(chunk), stdin)) > 0)
        buf_add(&text, chunk, n);
    int rc = buf_check(&text, err);
    return rc < 0 ? err_wrap(err, "standard input")
                  : docs_parse(out, buf_str(&text), "standard input", NULL, true, err);
}

static bool is_manifest_name(const char *name)
{
    Str s = str_from(name);
    if (str_starts(s, STR("kustomization.")) || str_starts(s, STR("Kustomization")) || s.ptr[0] == '.')
        return false;
    return str_ends(s, STR(".yaml")) || str_ends(s, STR(".yml")) || str_ends(s, STR(".json"));
}

static int load_dir(Docs *out, const char *path, bool recursive, unsigned depth, Err *err)
{
    struct dirent **names = NULL;
    if (depth > DEPTH_MAX)
        return err_set(err, ERR_INVALID, "%s: directories deeper than %d", path, DEPTH_MAX);
    int n = scandir(path, &names, NULL, alphasort), rc = 0;
    if (n < 0)
        return err_set_errno(err, errno, "%s", path);
    for (int i = 0; i < n; i++) {
        CLEANUP_FREE char *full = path_join(path, names[i]->d_name);
        struct stat st;
        if (rc == 0 && names[i]->d_name[0] != '.' && lstat(full, &st) == 0 && S_ISDIR(st.st_mode) &&
            recursive)
            rc = load_dir(out, full, recursive, depth + 1, err);
        else if (rc == 0 && is_manifest_name(names[i]->d_name))
            rc = docs_load_file(out, full, true, err);
        free(names[i]);
    }
    free(names);
    return rc;
}

int path_failed(const char *path, int errnum, Err *err)
{
    if (errnum == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "%s: No such file or directory", path);
    return err_set_errno(err, errnum, "%s", path);
}

int docs_load(Docs *out, const char *path, bool recursive, Err *err)
{
    struct stat st;
    if (strcmp(path, "-") == 0)
        return load_stdin(out, err);
    if (strstr(path, "://"))
        return err_set(err, ERR_USAGE, "%s: addresses are not read; use: curl -fsSL %s | acpctl apply -f -",
                       path, path);
    if (stat(path, &st) < 0)
        return path_failed(path, errno, err);
    return S_ISDIR(st.st_mode) ? load_dir(out, path, recursive, 0, err)
                               : docs_load_file(out, path, true, err);
}
