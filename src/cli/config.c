#include "config.h"

#include <libgen.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "base/vec.h"
#include "http/url.h"

/* A change of the file. Changes are kept, so that a save can make them again on what another command wrote
 * meanwhile: it must not bring back, say, a refresh token that has been used since. */
typedef enum EditOp { EDIT_SET, EDIT_USE, EDIT_RENAME, EDIT_DELETE } EditOp;
typedef struct Edit {
    EditOp op;
    char *context;     /* NULL = the top level */
    char *name, *text; /* key and value, or names of contexts; text NULL = remove */
} Edit;

struct Config {
    char *path, *context;
    json_t *root;
    VEC_OF(Edit)
    edits;
    char number[24]; /* scratch of config_get for numbers and booleans */
};

typedef struct Key {
    const char *name, *env, *dflt;
    bool in_context;
    char type; /* s, i, b */
} Key;

/* In the order in which they are written. */
static const Key keys[] = {
    {"api_url", "AMBIENT_API_URL", "http://localhost:8000", true, 's'},
    {"grpc_url", "AMBIENT_GRPC_URL", NULL, true, 's'},
    {"access_token", "AMBIENT_TOKEN", NULL, true, 's'},
    {"refresh_token", NULL, NULL, true, 's'},
    {"issuer_url", NULL, NULL, true, 's'},
    {"client_id", NULL, NULL, true, 's'},
    {"client_secret_file", NULL, NULL, true, 's'},
    {"login_method", NULL, NULL, true, 's'},
    {"scopes", NULL, NULL, true, 's'},
    {"token_renew_at", NULL, NULL, true, 's'},
    {"token_expires_at", NULL, NULL, true, 's'},
    {"project", "AMBIENT_PROJECT", NULL, true, 's'},
    {"ca_file", "AMBIENT_CA_FILE", NULL, true, 's'},
    {"pager", NULL, NULL, false, 's'},
    {"request_timeout", "AMBIENT_REQUEST_TIMEOUT", "30", false, 'i'},
    {"polling_interval", "AMBIENT_POLLING_INTERVAL", "2", false, 'i'},
    {"insecure_tls_verify", NULL, "false", true, 'b'},
};
const char *const config_keys[] = {
    "api_url",         "grpc_url",         "access_token",        "project", "ca_file", "pager",
    "request_timeout", "polling_interval", "insecure_tls_verify", NULL};

static const Key *find_key(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    }
    return NULL;
}

bool config_key_known(const char *key)
{
    for (const char *const *k = config_keys; *k; k++) {
        if (strcmp(*k, key) == 0)
            return true;
    }
    return false;
}

static char *file_path(Err *err)
{
    const char *file = getenv("AMBIENT_CONFIG"), *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (file && *file)
        return xstrdup(file);
    if (xdg && xdg[0] == '/')
        return path_join(xdg, "ambient/config.json");
    if (home && home[0] == '/')
        return path_join(home, ".config/ambient/config.json");
    err_set(err, ERR_USAGE, "neither AMBIENT_CONFIG, XDG_CONFIG_HOME nor HOME is set");
    return NULL;
}

json_t *config_contexts(const Config *c)
{
    return json_get_obj(c->root, "contexts");
}

static json_t *active(const Config *c)
{
    return c->context ? json_get_obj(config_contexts(c), c->context) : NULL;
}

/* A context calls the API's address "server". */
static const char *context_key(const Key *k)
{
    return strcmp(k->name, "api_url") == 0 ? "server" : k->name;
}

/* "localhost" and its kind become "local"; otherwise the host without "www.". */
static char *name_from_url(const char *url)
{
    Url u;
    if (!url || url_parse(str_from(url), &u, NULL) < 0)
        return xstrdup("default");
    if (str_eqz(u.host, "localhost") || str_eqz(u.host, "127.0.0.1") || str_eqz(u.host, "::1"))
        return xstrdup("local");
    Str h = str_starts(u.host, STR("www.")) ? str_slice(u.host, 4, u.host.len) : u.host;
    return str_dup(h);
}

/* A flat file becomes one context in memory; it is written so by the next save. */
static void lift(json_t *root)
{
    if (json_get_obj(root, "contexts") || json_object_size(root) == 0)
        return;
    json_t *ctx = json_object();
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (keys[i].in_context)
            json_object_set(ctx, context_key(&keys[i]), json_object_get(root, keys[i].name));
    }
    CLEANUP_FREE char *name = name_from_url(json_get_str(root, "api_url"));
    json_t *contexts = json_object();
    json_object_set_new(contexts, name, ctx);
    json_object_set_new(root, "contexts", contexts);
    json_object_set_new(root, "current_context", json_string(name));
}

static int read_root(const char *path, json_t **ret, Err *err)
{
    Err e = {0};
    CLEANUP_JSON json_t *root = NULL;
    int rc = json_parse_file(path, 1024 * 1024, &root, &e);
    if (rc == -ERR_NOT_FOUND) {
        *ret = json_object();
        return 0;
    }
    if (rc == 0 && !json_is_object(root))
        rc = err_set(&e, ERR_MALFORMED, "not a JSON object");
    if (rc < 0)
        return err_set(err, ERR_USAGE, "load config: parse config file \"%s\": %s", path, e.msg);
    lift(root);
    *ret = TAKE(root);
    return 0;
}

int config_load(const char *context, Config **ret, Err *err)
{
    CLEANUP(config_freep) Config *c = xnew(Config);
    c->path = file_path(err);
    if (!c->path)
        return -ERR_USAGE;
    int rc = read_root(c->path, &c->root, err);
    if (rc < 0)
        return rc;
    struct stat st;
    if (config_has_file_token(c) && stat(c->path, &st) == 0 && (st.st_mode & 077))
        fprintf(stderr, "Warning: %s holds a token and others may read it; run: chmod 600 %s\n", c->path,
                c->path);
    const char *env = getenv("AMBIENT_CONTEXT");
    const char *name = context ? context : env && *env ? env : json_get_str(c->root, "current_context");
    if (name) {
        c->context = xstrdup(name);
        if (!active(c))
            return err_set(err, ERR_USAGE, "no context \"%s\" in %s; see: acpctl config get-contexts", name,
                           c->path);
    }
    *ret = TAKE(c);
    return 0;
}

static void forget_edits(Config *c)
{
    VEC_FOREACH (&c->edits, e) {
        free(e->context);
        free(e->name);
        if (e->text)
            secret_erase(e->text, strlen(e->text));
        free(e->text);
    }
    vec_clear(&c->edits);
}

Config *config_free(Config *c)
{
    if (!c)
        return NULL;
    forget_edits(c);
    vec_free(&c->edits);
    json_decref(c->root);
    free(c->path);
    free(c->context);
    free(c);
    return NULL;
}

const char *config_path(const Config *c)
{
    return c->path;
}

const char *config_context(const Config *c)
{
    return c->context;
}

static const char *text_of(const Config *c, const json_t *v)
{
    char *scratch = (char *)(uintptr_t)c->number;
    if (json_is_string(v))
        return json_string_length(v) ? json_string_value(v) : NULL;
    if (json_is_integer(v))
        snprintf(scratch, sizeof(c->number), "%lld", (long long)json_integer_value(v));
    else if (json_is_boolean(v))
        snprintf(scratch, sizeof(c->number), "%s", json_is_true(v) ? "true" : "false");
    else
        return NULL;
    return scratch;
}

static bool env_usable(const Key *k, const char *v)
{
    int64_t n;
    if (!v || !*v)
        return false;
    return k->type != 'i' || (str_to_i64(str_from(v), &n) == 0 && n > 0);
}

const char *config_get(const Config *c, const char *key, ConfigSource *ret_source)
{
    ConfigSource ignored;
    ConfigSource *source = ret_source ? ret_source : &ignored;
    const Key *k = find_key(key);
    const char *env = k && k->env ? getenv(k->env) : NULL;
    if (k && env_usable(k, env))
        return *source = CONFIG_ENV, env;
    const char *v = NULL;
    if (k && k->in_context && active(c))
        v = text_of(c, json_object_get(active(c), context_key(k)));
    else if (k)
        v = text_of(c, json_object_get(c->root, k->name));
    if (v)
        return *source = CONFIG_FILE, v;
    *source = k && k->dflt ? CONFIG_DEFAULT : CONFIG_UNSET;
    return k ? k->dflt : NULL;
}

int64_t config_get_int(const Config *c, const char *key)
{
    int64_t v = 0;
    const char *s = config_get(c, key, NULL);
    return s && str_to_i64(str_from(s), &v) == 0 ? v : 0;
}

bool config_get_bool(const Config *c, const char *key)
{
    const char *s = config_get(c, key, NULL);
    return s && strcmp(s, "true") == 0;
}

bool config_has_file_token(const Config *c)
{
    const json_t *from = active(c) ? active(c) : c->root;
    const char *t = json_get_str(from, "access_token");
    return t && *t;
}

static json_t *typed(const Key *k, const char *value)
{
    int64_t n = 0;
    if (k && k->type == 'i' && str_to_i64(str_from(value), &n) == 0)
        return json_integer(n);
    if (k && k->type == 'b')
        return json_boolean(strcmp(value, "true") == 0);
    return json_strv(str_from(value));
}

static json_t *contexts_of(json_t *root)
{
    if (!json_get_obj(root, "contexts"))
        json_object_set_new(root, "contexts", json_object());
    return json_get_obj(root, "contexts");
}

static json_t *context_of(json_t *root, const char *name)
{
    json_t *all = contexts_of(root);
    if (!json_get_obj(all, name))
        json_object_set_new(all, name, json_object());
    return json_get_obj(all, name);
}

static void make_set(json_t *root, const Edit *e)
{
    const Key *k = find_key(e->name);
    json_t *to = e->context ? context_of(root, e->context) : root;
    const char *member = e->context && k ? context_key(k) : e->name;
    if (e->text)
        json_object_set_new(to, member, typed(k, e->text));
    else
        json_object_del(to, member);
}

static void make_rename(json_t *root, const Edit *e)
{
    json_t *all = contexts_of(root), *ctx = json_get_obj(all, e->name);
    const char *current = json_get_str(root, "current_context");
    if (!ctx || json_get_obj(all, e->text))
        return;
    if (current && strcmp(current, e->name) == 0)
        json_object_set_new(root, "current_context", json_string(e->text));
    json_object_set(all, e->text, ctx);
    json_object_del(all, e->name);
}

static void make_delete(json_t *root, const Edit *e)
{
    const char *current = json_get_str(root, "current_context");
    if (current && strcmp(current, e->name) == 0)
        json_object_del(root, "current_context");
    json_object_del(contexts_of(root), e->name);
}

static void make_edit(json_t *root, const Edit *e)
{
    switch (e->op) {
    case EDIT_SET:
        make_set(root, e);
        break;
    case EDIT_USE:
        (void)context_of(root, e->name);
        json_object_set_new(root, "current_context", json_string(e->name));
        break;
    case EDIT_RENAME:
        make_rename(root, e);
        break;
    case EDIT_DELETE:
        make_delete(root, e);
        break;
    }
}

static void edit(Config *c, EditOp op, const char *context, const char *name, const char *text)
{
    Edit e = {op, context ? xstrdup(context) : NULL, xstrdup(name), text ? xstrdup(text) : NULL};
    make_edit(c->root, &e);
    vec_push(&c->edits, e);
}

void config_set(Config *c, const char *key, const char *value)
{
    const Key *k = find_key(key);
    bool in_context = k && k->in_context;
    if (in_context && !active(c)) {
        CLEANUP_FREE char *name = name_from_url(strcmp(key, "api_url") == 0 ? value : NULL);
        (void)config_use_context(c, name, true, NULL);
    }
    edit(c, EDIT_SET, in_context ? c->context : NULL, key, value);
}

void config_set_bool(Config *c, const char *key, bool value)
{
    config_set(c, key, value ? "true" : NULL);
}

int config_use_context(Config *c, const char *name, bool create, Err *err)
{
    if (!create && !json_get_obj(config_contexts(c), name))
        return err_set(err, ERR_NOT_FOUND, "no context \"%s\"; see: acpctl config get-contexts", name);
    edit(c, EDIT_USE, NULL, name, NULL);
    char *copy = xstrdup(name);
    free(c->context);
    c->context = copy;
    return 0;
}

int config_rename_context(Config *c, const char *from, const char *to, Err *err)
{
    if (!json_get_obj(config_contexts(c), from))
        return err_set(err, ERR_NOT_FOUND, "no context \"%s\"; see: acpctl config get-contexts", from);
    if (json_get_obj(config_contexts(c), to))
        return err_set(err, ERR_CONFLICT, "context \"%s\" exists already", to);
    bool mine = c->context && strcmp(c->context, from) == 0;
    edit(c, EDIT_RENAME, NULL, from, to);
    if (mine) {
        free(c->context);
        c->context = xstrdup(to);
    }
    return 0;
}

int config_delete_context(Config *c, const char *name, Err *err)
{
    if (!json_get_obj(config_contexts(c), name))
        return err_set(err, ERR_NOT_FOUND, "no context \"%s\"; see: acpctl config get-contexts", name);
    bool mine = c->context && strcmp(c->context, name) == 0;
    edit(c, EDIT_DELETE, NULL, name, NULL);
    if (mine) {
        free(c->context);
        c->context = NULL;
    }
    return 0;
}

/* The file's current context in the flat keys, in the documented order, then everything else as it was. */
static json_t *in_order(json_t *root)
{
    json_t *out = json_object();
    const char *current = json_get_str(root, "current_context");
    json_t *ctx = current ? json_get_obj(json_get_obj(root, "contexts"), current) : NULL;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const json_t *from = keys[i].in_context ? ctx : root; /* no context, no login */
        const char *name = keys[i].in_context ? context_key(&keys[i]) : keys[i].name;
        json_t *v = json_object_get(from, name);
        if (v && !(json_is_string(v) && !json_string_length(v)) && !json_is_false(v))
            json_object_set(out, keys[i].name, v);
    }
    const char *key;
    json_t *v;
    json_object_foreach(root, key, v)
    {
        if (!find_key(key))
            json_object_set(out, key, v);
    }
    return out;
}

int config_reload(Config *c, Err *err)
{
    json_t *root = NULL;
    int rc = read_root(c->path, &root, err);
    if (rc < 0)
        return rc;
    VEC_FOREACH (&c->edits, e)
        make_edit(root, e);
    json_decref(c->root);
    c->root = root;
    return 0;
}

int config_save(Config *c, Err *err)
{
    CLEANUP_FREE char *copy = xstrdup(c->path);
    CLEANUP_FREE char *lock_path = xasprintf("%s.lock", c->path);
    CLEANUP_FD int lock = -1;
    int rc = dir_make(dirname(copy), 0700, err);
    if (rc == 0)
        rc = file_lock_wait(lock_path, &lock, err);
    if (rc == 0)
        rc = config_reload(c, err);
    if (rc < 0)
        return err_wrap(err, "save config");
    CLEANUP_JSON json_t *out = in_order(c->root);
    CLEANUP_BUF Buf text = BUF_INIT(1024 * 1024);
    json_write_pretty(&text, out, 2);
    buf_truncate(&text, text.len ? text.len - 1 : 0);
    rc = file_write_atomic(c->path, buf_str(&text), 0600, err);
    secret_erase(text.data, text.len);
    if (rc < 0)
        return err_wrap(err, "save config");
    forget_edits(c);
    return 0;
}
