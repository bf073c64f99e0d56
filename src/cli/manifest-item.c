/* A document becomes an item: both shapes, other names of members, files and variables. */
#include "manifest.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/ksuid.h"
#include "base/mem.h"

#define FILE_MAX (4 * 1024 * 1024)

typedef struct Reader {
    const Doc *d;
    Validate validate;
    bool expand;
    Item *it;
    char *scope_id; /* of a binding: which field it is depends on the scope */
    Err *err;
} Reader;

static int bad(Reader *r, const char *path, const char *what)
{
    int line = doc_line(r->d, path);
    if (line)
        return err_set(r->err, ERR_INVALID, "%s:%d: %s: %s", r->d->origin, line, path, what);
    return err_set(r->err, ERR_INVALID, "%s: %s: %s", r->d->origin, path, what);
}

/* ---- variables ---- */

static bool is_name(Str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return s.len > 0;
}

/* Whether the whole of s is $NAME, ${NAME} or ${NAME:-default}. */
static bool is_variable(Str s, Str *ret_name, Str *ret_default)
{
    *ret_default = STR_NULL;
    if (s.len < 2 || s.ptr[0] != '$')
        return false;
    *ret_name = str_slice(s, 1, s.len);
    if (s.ptr[1] == '{') {
        if (s.ptr[s.len - 1] != '}')
            return false;
        *ret_name = str_slice(s, 2, s.len - 1);
        ptrdiff_t dash = str_find(*ret_name, STR(":-"));
        if (dash >= 0) {
            *ret_default = str_slice(*ret_name, (size_t)dash + 2, ret_name->len);
            *ret_name = str_slice(*ret_name, 0, (size_t)dash);
        }
    }
    return is_name(*ret_name);
}

/* $$NAME stands for the text $NAME. A value that only has a '$' somewhere is left alone: tokens do. */
static int expand_text(Reader *r, Str s, json_t **ret)
{
    Str name, dflt;
    if (s.len > 2 && s.ptr[0] == '$' && is_variable(str_slice(s, 1, s.len), &name, &dflt)) {
        *ret = json_strv(str_slice(s, 1, s.len));
        return 0;
    }
    if (!is_variable(s, &name, &dflt)) {
        *ret = json_strv(s);
        return 0;
    }
    CLEANUP_FREE char *key = str_dup(name);
    const char *value = getenv(key);
    if ((!value || !*value) && dflt.ptr) {
        *ret = json_strv(dflt);
        return 0;
    }
    if (!value)
        return err_set(r->err, ERR_USAGE, "environment variable %s is not set", key);
    if (!str_is_utf8(str_from(value)))
        return err_set(r->err, ERR_USAGE, "environment variable %s is not UTF-8 text", key);
    *ret = json_string(value);
    return 0;
}

static int expand_value(Reader *r, const json_t *v, json_t **ret)
{
    if (json_is_string(v) && r->expand)
        return expand_text(r, (Str){json_string_value(v), json_string_length(v)}, ret);
    if (!json_is_object(v)) {
        *ret = json_deep_copy(v);
        return 0;
    }
    CLEANUP_JSON json_t *out = json_object();
    const char *key;
    json_t *one;
    json_object_foreach((json_t *)(uintptr_t)v, key, one)
    {
        json_t *value = NULL;
        int rc = expand_value(r, one, &value);
        if (rc < 0)
            return rc;
        json_object_set_new(out, key, value);
    }
    *ret = TAKE(out);
    return 0;
}

/* ---- types ---- */

static json_t *string_map(const json_t *v)
{
    CLEANUP_JSON json_t *out = json_object();
    const char *key;
    json_t *one;
    json_object_foreach((json_t *)(uintptr_t)v, key, one)
    {
        if (json_is_null(one))
            json_object_set_new(out, key, json_string(""));
        else if (json_is_string(one))
            json_object_set(out, key, one);
        else
            return NULL;
    }
    return TAKE(out);
}

static json_t *convert_json(const Field *f, json_t *v)
{
    CLEANUP_JSON json_t *parsed = NULL;
    if (json_is_string(v) && json_string_length(v) == 0)
        return json_incref(v);
    if (json_is_string(v)) {
        if (json_parse((Str){json_string_value(v), json_string_length(v)}, &parsed, NULL) < 0)
            return NULL;
        v = parsed;
    }
    if (f->flags & F_STRING_MAP)
        return json_is_object(v) ? string_map(v) : NULL;
    return json_incref(v);
}

static json_t *convert_number(const Field *f, json_t *v)
{
    int64_t i;
    double d;
    Str s = {json_string_value(v), json_string_length(v)};
    if (f->type == FT_DOUBLE) {
        if (json_is_number(v))
            return json_real(json_number_value(v));
        return s.ptr && str_to_double(s, &d) == 0 ? json_real(d) : NULL;
    }
    if (json_is_integer(v))
        return json_incref(v);
    return s.ptr && str_to_i64(s, &i) == 0 ? json_integer(i) : NULL;
}

/* NULL when the value does not fit the field. */
static json_t *convert(const Field *f, json_t *v)
{
    const char *text = json_string_value(v);
    if (json_is_null(v))
        return json_incref(v);
    switch (f->type) {
    case FT_STRING:
    case FT_TIME:
        return json_is_string(v) ? json_incref(v) : NULL;
    case FT_JSON_TEXT:
        return convert_json(f, v);
    case FT_INT32:
    case FT_INT64:
    case FT_DOUBLE:
        return convert_number(f, v);
    case FT_BOOL:
        if (json_is_boolean(v))
            return json_incref(v);
        if (text && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0))
            return json_boolean(text[0] == 't');
        return NULL;
    }
    return NULL;
}

static const char *type_name(const Field *f)
{
    static const char *const names[] = {
        [FT_STRING] = "must be a text",        [FT_JSON_TEXT] = "must be a value or JSON in a text",
        [FT_INT32] = "must be a whole number", [FT_INT64] = "must be a whole number",
        [FT_DOUBLE] = "must be a number",      [FT_BOOL] = "must be true or false",
        [FT_TIME] = "must be a time",
    };
    return f->flags & F_STRING_MAP ? "must be a mapping of texts" : names[f->type];
}

/* ---- members ---- */

/* Flat and nested form may say the same, but not two things. */
static int put(Reader *r, json_t *into, const char *path, const char *field, json_t *value)
{
    CLEANUP_JSON json_t *own = value;
    json_t *before = json_object_get(into, field);
    if (before && !json_equal(before, own))
        return bad(r, path, "is given twice, with different values");
    json_object_set(into, field, own);
    return 0;
}

static int set_field(Reader *r, const char *path, const Field *f, const json_t *v)
{
    CLEANUP_JSON json_t *expanded = NULL;
    int rc = expand_value(r, v, &expanded);
    if (rc < 0)
        return err_wrap(r->err, "%s", path);
    json_t *value = convert(f, expanded);
    return value ? put(r, r->it->fields, path, f->json, value) : bad(r, path, type_name(f));
}

static int set_text(Reader *r, const char *path, char **to, const json_t *v)
{
    CLEANUP_JSON json_t *expanded = NULL;
    if (!json_is_string(v))
        return bad(r, path, "must be a text");
    int rc = expand_value(r, v, &expanded);
    if (rc < 0)
        return err_wrap(r->err, "%s", path);
    if (*to && strcmp(*to, json_string_value(expanded)) != 0)
        return bad(r, path, "is given twice, with different values");
    free(*to);
    *to = xstrdup(json_string_value(expanded));
    return 0;
}

/* A file that a manifest names must lie beside or below it: who sends a manifest must not be able to name the
   keys of who applies it. */
static int read_beside(Reader *r, const char *path, const char *name, Buf *out)
{
    CLEANUP_FREE char *full = path_join(r->d->dir ? r->d->dir : ".", name);
    char root[PATH_MAX], real[PATH_MAX];
    if (name[0] == '/' || !realpath(r->d->dir ? r->d->dir : ".", root) || !realpath(full, real))
        return bad(r, path, name[0] == '/' ? "an absolute path is not read" : "no such file");
    size_t n = strlen(root);
    if (strncmp(real, root, n) != 0 || (real[n] != '/' && n > 1))
        return bad(r, path, "the file is outside the manifest's directory");
    int rc = file_read(real, out, r->err);
    if (rc == 0 && !str_is_utf8(buf_str(out)))
        return bad(r, path, "the file is not UTF-8 text");
    return rc;
}

static int read_stdin_value(Reader *r, const char *path, Buf *out)
{
    int c;
    while ((c = fgetc(stdin)) != EOF)
        buf_addc(out, (char)c);
    if (buf_check(out, r->err) < 0 || !str_is_utf8(buf_str(out)) || !out->len)
        return bad(r, path, "standard input is empty, too long or not UTF-8 text");
    return 0;
}

/* promptFrom: {file: x.md}, tokenFrom: {env: NAME}: the value is elsewhere. */
static int set_from(Reader *r, const char *path, const Field *f, const json_t *v)
{
    CLEANUP_BUF Buf text = BUF_INIT(FILE_MAX);
    const char *env = json_get_str(v, "env"), *file = json_get_str(v, "file");
    int rc = 0;
    if (!json_is_object(v) || json_object_size(v) != 1 ||
        (!env && !file && !json_get_bool(v, "stdin", false)))
        return bad(r, path, "must be {file: NAME}, {env: NAME} or {stdin: true}");
    if (!r->expand && f->flags & F_WRITE_ONLY)
        return 0;
    if (env && !getenv(env))
        return err_set(r->err, ERR_USAGE, "%s: environment variable %s is not set", path, env);
    if (env)
        buf_addz(&text, getenv(env));
    else
        rc = file ? read_beside(r, path, file, &text) : read_stdin_value(r, path, &text);
    if (rc < 0)
        return rc;
    Str s = f->flags & F_WRITE_ONLY ? str_trim(buf_str(&text)) : buf_str(&text);
    return put(r, r->it->fields, path, f->json, json_strv(s));
}

static const ManifestRef *find_ref(const ManifestKind *k, const char *member)
{
    for (const ManifestRef *ref = k->refs; ref && ref->member; ref++) {
        if (strcmp(ref->member, member) == 0 || strcmp(ref->field, member) == 0)
            return ref;
    }
    return NULL;
}

static int set_ref(Reader *r, const char *path, const ManifestRef *ref, const json_t *v)
{
    if (json_is_null(v))
        return put(r, r->it->fields, path, ref->field, json_null());
    CLEANUP_FREE char *name = NULL;
    int rc = set_text(r, path, &name, v);
    if (rc < 0 || !name)
        return rc;
    json_t *into = ksuid_is_valid(str_from(name)) || !*name ? r->it->fields : r->it->refs;
    return put(r, into, path, ref->field, json_string(name));
}

static bool in_list(const char *const *list, const char *word)
{
    for (; list && *list; list++) {
        if (strcmp(*list, word) == 0)
            return true;
    }
    return false;
}

static int unknown_member(Reader *r, const char *path, const char *member)
{
    const Kind *t = r->it->table;
    const char *near = NULL;
    for (size_t i = 0; i < t->n_fields; i++) {
        if (t->fields[i].flags & (F_CREATE | F_PATCH) && word_distance(member, t->fields[i].json) <= 2)
            near = t->fields[i].json;
    }
    char what[160];
    snprintf(what, sizeof(what), "no such member of %s%s%s%s", t->name, near ? "; did you mean \"" : "",
             near ? near : "", near ? "\"?" : "");
    if (r->validate == VALIDATE_STRICT)
        return bad(r, path, what);
    if (r->validate == VALIDATE_WARN)
        fprintf(stderr, "Warning: %s:%d: %s: %s\n", r->d->origin, doc_line(r->d, path), path, what);
    return 0;
}

/* "promptFrom" -> the field prompt. */
static const Field *field_of_from(const Kind *t, const char *member)
{
    Str m = str_from(member);
    if (!str_ends(m, STR("From")))
        return NULL;
    int i = kind_field(t, str_slice(m, 0, m.len - 4));
    return i >= 0 && t->fields[i].type == FT_STRING && t->fields[i].flags & F_CREATE ? &t->fields[i] : NULL;
}

static int take_field(Reader *r, const char *path, const char *member, const json_t *v)
{
    const Kind *t = r->it->table;
    int i = kind_field(t, str_from(member));
    if (i >= 0 && t->fields[i].flags & (F_CREATE | F_PATCH))
        return set_field(r, path, &t->fields[i], v);
    static const char *const answered[] = {"href", "kind", NULL};
    if (i >= 0 || in_list(answered, member))
        return 0; /* what `get -o yaml` says beside */
    const Field *from = field_of_from(t, member);
    if (from)
        return set_from(r, path, from, v);
    if (in_list(r->it->kind->ignored, member)) {
        fprintf(stderr, "Warning: %s:%d: %s is not used by this version\n", r->d->origin,
                doc_line(r->d, path), path);
        return 0;
    }
    return unknown_member(r, path, member);
}

static int take_member(Reader *r, const char *path, const char *member, const json_t *v);

/* source: {path: x} stands for source_path: x. Says whether the member was one of those. */
static bool take_nested(Reader *r, const char *path, const char *member, const json_t *v, int *ret_rc)
{
    size_t n = strlen(member);
    const ManifestAlias *a = r->it->kind->aliases;
    while (a && a->member && (strncmp(a->member, member, n) != 0 || a->member[n] != '.'))
        a++;
    if (!a || !a->member || !json_is_object(v))
        return false;
    const char *key;
    json_t *one;
    *ret_rc = 0;
    json_object_foreach((json_t *)(uintptr_t)v, key, one)
    {
        CLEANUP_FREE char *inner = xasprintf("%s.%s", path, key);
        CLEANUP_FREE char *name = xasprintf("%s.%s", member, key);
        if (*ret_rc == 0)
            *ret_rc = take_member(r, inner, name, one);
    }
    return true;
}

static int take_member(Reader *r, const char *path, const char *member, const json_t *v)
{
    Item *it = r->it;
    int rc = 0;
    for (const ManifestAlias *a = it->kind->aliases; a && a->member; a++) {
        if (strcmp(a->member, member) == 0)
            member = a->field;
    }
    if (take_nested(r, path, member, v, &rc))
        return rc;
    if (strcmp(member, "id") == 0)
        return set_text(r, path, &it->id, v);
    if (it->kind->identity && strcmp(member, "scope_id") == 0)
        return set_text(r, path, &r->scope_id, v);
    bool is_project = strcmp(member, "project") == 0;
    is_project = is_project || (strcmp(member, "project_id") == 0 && !it->kind->identity);
    if (is_project && strcmp(it->kind->noun, "project") != 0)
        return set_text(r, path, &it->project, v);
    if (it->kind->inbox && strcmp(member, "inbox") == 0) {
        if (!json_is_array(v))
            return bad(r, path, "must be a sequence of {from_name, body}");
        it->inbox = it->inbox ? it->inbox : json_deep_copy(v);
        return 0;
    }
    const ManifestRef *ref = find_ref(it->kind, member);
    return ref ? set_ref(r, path, ref, v) : take_field(r, path, member, v);
}

static int take_members(Reader *r, const json_t *from, const char *before)
{
    static const char *const outer[] = {"apiVersion", "kind", "metadata", "spec", "status", NULL};
    static const char *const meta[] = {"creationTimestamp", "resourceVersion", "uid", "generation", NULL};
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)from, key, v)
    {
        bool nested = json_is_object(v) || strcmp(key, "apiVersion") == 0 || strcmp(key, "kind") == 0;
        if ((!*before && in_list(outer, key) && nested) || (*before == 'm' && in_list(meta, key)))
            continue;
        CLEANUP_FREE char *path = xasprintf("%s%s%s", before, *before ? "." : "", key);
        int rc = take_member(r, path, key, v);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- the whole ---- */

/* scope_id is the member of its scope: project_id, agent_id ... `project` says where an agent or session is
   to be found, and is the target itself when that is the scope. */
static int place_scope_id(Reader *r)
{
    const char *scope = json_get_str(r->it->fields, "scope");
    bool of_project = scope && strcmp(scope, "project") == 0;
    const char *project = r->scope_id ? r->scope_id : r->it->project;
    if (of_project && project)
        return put(r, r->it->fields, "scope_id", "project_id", json_string(project));
    if (!r->scope_id)
        return 0;
    const ManifestRef *ref = scope ? find_ref(r->it->kind, scope) : NULL;
    if (!ref || strcmp(scope, "role") == 0) {
        CLEANUP_FREE char *what = xasprintf("unsupported scope \"%s\"", scope ? scope : "");
        return bad(r, "scope_id", what);
    }
    CLEANUP_JSON json_t *v = json_string(r->scope_id);
    return set_ref(r, "scope_id", ref, v);
}

static const char *value_or_ref(const Item *it, const char *field)
{
    const char *v = json_get_str(it->refs, field);
    return v ? v : json_get_str(it->fields, field);
}

static char *binding_name(const Item *it, const char *scope_id)
{
    static const char *const targets[] = {"credential_id", "session_id", "agent_id", "project_id"};
    const char *user = value_or_ref(it, "user_id"), *target = scope_id;
    for (size_t i = 0; i < ARRAY_LEN(targets) && !target; i++)
        target = value_or_ref(it, targets[i]);
    if (!target)
        target = json_get_str(it->fields, "scope");
    if (!user || !*user)
        user = value_or_ref(it, "role_id");
    return xasprintf("%s\xE2\x86\x92%s", user ? user : "", target ? target : "");
}

static int check_required(Reader *r)
{
    const Kind *t = r->it->table;
    for (size_t i = FIELD_FIRST; i < t->n_fields; i++) {
        const Field *f = &t->fields[i];
        bool must =
            (f->flags & (F_REQUIRED | F_NOT_EMPTY)) && f->flags & F_CREATE && (int)i != t->project_field;
        const json_t *v = json_object_get(r->it->fields, f->json);
        if (must && !json_object_get(r->it->refs, f->json) && (!v || json_is_null(v)))
            return err_set(r->err, ERR_INVALID, "%s: %s is required", r->d->origin, f->json);
    }
    return 0;
}

static int read_doc(Reader *r)
{
    Item *it = r->it;
    int rc = take_members(r, r->d->body, "");
    if (rc == 0 && json_get_obj(r->d->body, "metadata"))
        rc = take_members(r, json_get_obj(r->d->body, "metadata"), "metadata");
    if (rc == 0 && json_get_obj(r->d->body, "spec"))
        rc = take_members(r, json_get_obj(r->d->body, "spec"), "spec");
    if (rc == 0 && it->kind->identity)
        rc = place_scope_id(r);
    if (rc < 0)
        return rc;
    const char *name = json_get_str(it->fields, "name");
    free(it->name);
    it->name = it->kind->identity ? binding_name(it, r->scope_id) : xstrdup(name ? name : "");
    if (!it->kind->identity && !*it->name)
        return err_set(r->err, ERR_INVALID, "%s: name is required", r->d->origin);
    return r->expand ? check_required(r) : 0;
}

int item_from_doc(const Doc *d, Validate validate, bool expand, Item **ret, Err *err)
{
    Str kind = doc_kind(d);
    const ManifestKind *k = manifest_kind(kind);
    if (!k)
        return err_set(err, ERR_INVALID, "unknown kind \"" STR_FMT "\"", STR_ARG(kind));
    if (!manifest_table(k))
        return err_set(err, ERR_UNIMPLEMENTED, "this program does not know the kind %s", k->name);
    CLEANUP(item_freep) Item *it = xnew(Item);
    it->kind = k;
    it->table = manifest_table(k);
    it->doc = d;
    it->fields = json_object();
    it->refs = json_object();
    it->name = str_dup(doc_name(d));
    Reader r = {.d = d, .validate = validate, .expand = expand, .it = it, .err = err};
    int rc = read_doc(&r);
    free(r.scope_id);
    if (rc < 0)
        return err_wrap(err, "%s/%s", k->noun, it->name);
    *ret = TAKE(it);
    return 0;
}

Item *item_free(Item *it)
{
    if (!it)
        return NULL;
    free(it->name);
    free(it->id);
    free(it->project);
    json_decref(it->fields);
    json_decref(it->refs);
    json_decref(it->inbox);
    free(it);
    return NULL;
}
