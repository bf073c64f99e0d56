#include "kube/config.h"

#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "http/url.h"
#include "yaml/yaml.h"

#define FILE_MAX (1024 * 1024)
#define CLUSTERS_MAX 4096

/* ---- texts of a kubeconfig ---- */

static char *dup_str(const json_t *o, const char *key)
{
    const char *s = json_get_str(o, key);
    return s && *s ? xstrdup(s) : NULL;
}

static bool is_true(const json_t *o, const char *key)
{
    const char *s = json_get_str(o, key); /* scalars are read as written */
    return s && strcmp(s, "true") == 0;
}

/* Relative paths are relative to the file that names them. */
static char *dup_path(const json_t *o, const char *key, const char *dir)
{
    const char *s = json_get_str(o, key);
    if (!s || !*s)
        return NULL;
    return *s == '/' ? xstrdup(s) : path_join(dir, s);
}

static int decode(const json_t *o, const char *key, Buf *out, Err *err)
{
    Str text = json_get_strv(o, key);
    if (text.len > 0 && base64_read(text, out) < 0)
        return err_set(err, ERR_INVALID, "%s is not base64", key);
    return 0;
}

static int take_text(const json_t *o, const char *key, char **ret, Err *err)
{
    CLEANUP_BUF Buf b = BUF_INIT(FILE_MAX);
    int rc = decode(o, key, &b, err);
    if (rc == 0 && b.len > 0)
        *ret = buf_take(&b);
    return rc;
}

static int take_secret(const json_t *o, const char *key, Secret **ret, Err *err)
{
    Buf b = BUF_INIT(FILE_MAX);
    int rc = decode(o, key, &b, err);
    if (rc == 0 && b.len > 0)
        *ret = secret_new(buf_str(&b));
    secret_erase(b.data, b.cap);
    buf_done(&b);
    return rc;
}

/* The `what` member of the entry called `name` in a list of {name, what}. */
static const json_t *find_entry(const json_t *doc, const char *list, const char *what, const char *name)
{
    const json_t *entries = json_get_arr(doc, list);
    for (size_t i = 0; name && i < json_array_size(entries) && i < CLUSTERS_MAX; i++) {
        const json_t *e = json_array_get(entries, i);
        const char *n = json_get_str(e, "name");
        if (n && strcmp(n, name) == 0)
            return json_get_obj(e, what);
    }
    return NULL;
}

/* ---- from a kubeconfig to a KubeConfig ---- */

static int read_server(const json_t *cluster, KubeConfig *c, Err *err)
{
    Str server = json_get_strv(cluster, "server");
    while (str_ends(server, STR("/")))
        server.len--;
    Url u;
    if (url_parse(server, &u, err) < 0)
        return err_wrap(err, "server");
    if (u.has_userinfo || u.query.len > 0)
        return err_set(err, ERR_INVALID, "server: neither a user name nor a query may be in it");
    c->server = str_dup(server);
    return 0;
}

static int read_cluster(const json_t *cluster, const char *dir, KubeConfig *c, Err *err)
{
    int rc = read_server(cluster, c, err);
    if (rc == 0)
        rc = take_text(cluster, "certificate-authority-data", &c->ca_pem, err);
    CLEANUP_FREE char *file = dup_path(cluster, "certificate-authority", dir);
    if (rc == 0 && !c->ca_pem && file) {
        CLEANUP_BUF Buf pem = BUF_INIT(FILE_MAX);
        rc = file_read(file, &pem, err);
        if (rc == 0)
            c->ca_pem = buf_take(&pem);
    }
    c->tls_server_name = dup_str(cluster, "tls-server-name");
    c->proxy_url = dup_str(cluster, "proxy-url");
    c->insecure_skip_verify = is_true(cluster, "insecure-skip-tls-verify");
    return rc;
}

static void read_argv(const json_t *exec, const char *dir, KubeExec *ret)
{
    const json_t *args = json_get_arr(exec, "args");
    const char *command = json_get_str(exec, "command");
    size_t n = json_array_size(args);
    bool is_path = *command != '/' && strchr(command, '/');
    ret->argv = xcalloc(n + 2, sizeof *ret->argv);
    ret->argv[0] = is_path ? path_join(dir, command) : xstrdup(command);
    for (size_t i = 0; i < n; i++) {
        const char *arg = json_string_value(json_array_get(args, i));
        ret->argv[i + 1] = xstrdup(arg ? arg : "");
    }
}

static void read_env(const json_t *exec, KubeExec *ret)
{
    const json_t *env = json_get_arr(exec, "env");
    size_t n = json_array_size(env), out = 0;
    ret->env = xcalloc(n + 1, sizeof *ret->env);
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(env, i);
        const char *name = json_get_str(e, "name"), *value = json_get_str(e, "value");
        if (name && *name && !strchr(name, '='))
            ret->env[out++] = xasprintf("%s=%s", name, value ? value : "");
    }
}

static int read_exec(const json_t *exec, const char *dir, KubeExec *ret, Err *err)
{
    const char *version = json_get_str(exec, "apiVersion"), *command = json_get_str(exec, "command");
    if (!command || !*command)
        return err_set(err, ERR_INVALID, "exec: no command");
    if (!version || (strcmp(version, "client.authentication.k8s.io/v1") != 0 &&
                     strcmp(version, "client.authentication.k8s.io/v1beta1") != 0))
        return err_set(err, ERR_INVALID,
                       "exec: apiVersion must be client.authentication.k8s.io/v1 or v1beta1");
    ret->api_version = xstrdup(version);
    ret->provide_cluster_info = is_true(exec, "provideClusterInfo");
    read_argv(exec, dir, ret);
    read_env(exec, ret);
    return 0;
}

static int read_user(const json_t *user, const char *dir, KubeConfig *c, Err *err)
{
    Str token = json_get_strv(user, "token");
    c->token = token.len > 0 ? secret_new(token) : NULL;
    c->token_file = dup_path(user, "tokenFile", dir);
    c->cert_file = dup_path(user, "client-certificate", dir);
    c->key_file = dup_path(user, "client-key", dir);
    c->as_user = dup_str(user, "as");
    int rc = take_text(user, "client-certificate-data", &c->cert_pem, err);
    if (rc == 0)
        rc = take_secret(user, "client-key-data", &c->key_pem, err);
    if (rc < 0)
        return rc;
    if ((c->cert_file || c->cert_pem) != (c->key_file || c->key_pem))
        return err_set(err, ERR_INVALID, "a client certificate needs its key, and a key its certificate");
    if (json_get_obj(user, "auth-provider"))
        return err_set(err, ERR_INVALID, "auth-provider is not supported by Kubernetes any more: use exec");
    const json_t *exec = json_get_obj(user, "exec");
    return exec ? read_exec(exec, dir, &c->exec, err) : 0;
}

static int read_context(const json_t *doc, const char *name, const char *dir, KubeConfig *c, Err *err)
{
    const json_t *context = find_entry(doc, "contexts", "context", name);
    if (!context)
        return err_set(err, ERR_INVALID, "no context \"%s\"", name ? name : "");
    const json_t *cluster = find_entry(doc, "clusters", "cluster", json_get_str(context, "cluster"));
    if (!cluster)
        return err_set(err, ERR_INVALID, "context \"%s\" names no cluster", name);
    c->ns = dup_str(context, "namespace");
    int rc = read_cluster(cluster, dir, c, err);
    const json_t *user = find_entry(doc, "users", "user", json_get_str(context, "user"));
    if (rc == 0 && user)
        rc = read_user(user, dir, c, err);
    return rc < 0 ? err_wrap(err, "context \"%s\"", name) : 0;
}

static int use_document(const json_t *doc, const char *dir, const char *context, KubeConfig *ret, Err *err)
{
    KubeConfig c = {0};
    const char *name = context ? context : json_get_str(doc, "current-context");
    int rc = read_context(doc, name, dir, &c, err);
    if (rc < 0) {
        kube_config_done(&c);
        return rc;
    }
    if (!c.ns)
        c.ns = xstrdup("default");
    *ret = c;
    return 0;
}

static int parse_document(Str text, json_t **ret, Err *err)
{
    CLEANUP_JSON json_t *docs = NULL;
    int rc = yaml_parse_all_as_written(text, &docs, err);
    if (rc < 0)
        return rc;
    json_t *doc = json_array_get(docs, 0);
    if (json_array_size(docs) != 1 || !json_is_object(doc))
        return err_set(err, ERR_INVALID, "not a kubeconfig");
    *ret = json_incref(doc);
    return 0;
}

int kube_config_parse(Str text, const char *dir, const char *context, KubeConfig *ret, Err *err)
{
    CLEANUP_JSON json_t *doc = NULL;
    int rc = parse_document(text, &doc, err);
    return rc < 0 ? rc : use_document(doc, dir, context, ret, err);
}

/* ---- files ---- */

static char *dir_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xmemdup0(path, (size_t)(slash - path));
}

/* Relative paths would lose their file when several are merged. */
static void make_absolute(json_t *doc, const char *list, const char *what, const char *const *keys,
                          const char *dir)
{
    const json_t *entries = json_get_arr(doc, list);
    for (size_t i = 0; i < json_array_size(entries); i++) {
        json_t *o = json_get_obj(json_array_get(entries, i), what);
        for (size_t k = 0; o && keys[k]; k++) {
            CLEANUP_FREE char *path = dup_path(o, keys[k], dir);
            if (path)
                json_object_set_new(o, keys[k], json_strv(str_from(path)));
        }
    }
}

static int load_document(const char *path, json_t **ret, Err *err)
{
    static const char *const cluster_paths[] = {"certificate-authority", NULL};
    static const char *const user_paths[] = {"client-certificate", "client-key", "tokenFile", NULL};
    CLEANUP_BUF Buf text = BUF_INIT(FILE_MAX);
    CLEANUP_FREE char *dir = dir_of(path);
    json_t *doc = NULL;
    int rc = file_read(path, &text, err);
    if (rc == 0)
        rc = parse_document(buf_str(&text), &doc, err);
    secret_erase(text.data, text.cap);
    if (rc < 0)
        return rc == -ERR_NOT_FOUND ? rc : err_wrap(err, "%s", path);
    make_absolute(doc, "clusters", "cluster", cluster_paths, dir);
    make_absolute(doc, "users", "user", user_paths, dir);
    *ret = doc;
    return 0;
}

/* The first file that has an entry, or a current context, wins. */
static void merge_document(json_t *into, const json_t *from)
{
    static const char *const lists[] = {"clusters", "users", "contexts"};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        json_t *have = json_get_arr(into, lists[i]);
        if (!have) {
            have = json_array();
            json_object_set_new(into, lists[i], have);
        }
        json_array_extend(have, json_get_arr(from, lists[i])); /* the first of a name is found */
    }
    const char *current = json_get_str(into, "current-context");
    if (!current || !*current)
        json_object_set(into, "current-context", json_object_get(from, "current-context"));
}

static int load_list(const char *paths, const char *context, KubeConfig *ret, Err *err)
{
    CLEANUP_JSON json_t *merged = json_object();
    CLEANUP_FREE char *first_dir = NULL;
    size_t found = 0;
    for (Str rest = str_from(paths); rest.ptr;) {
        CLEANUP_FREE char *path = str_dup(str_cut(&rest, ':'));
        CLEANUP_JSON json_t *doc = NULL;
        if (!*path)
            continue;
        int rc = load_document(path, &doc, err);
        if (rc < 0 && (rc != -ERR_NOT_FOUND || !strchr(paths, ':')))
            return rc;
        if (rc < 0)
            continue; /* as kubectl: of several, some may be missing */
        if (found++ == 0)
            first_dir = dir_of(path);
        merge_document(merged, doc);
    }
    if (found == 0)
        return err_set(err, ERR_NOT_FOUND, "no kubeconfig file at %s", paths);
    int rc = use_document(merged, first_dir, context, ret, err);
    return rc < 0 ? err_wrap(err, "%s", paths) : 0;
}

static char *home_config(void)
{
    const char *home = getenv("HOME");
    return home && *home == '/' ? path_join(home, ".kube/config") : NULL;
}

int kube_config_load(const char *path, const char *context, KubeConfig *ret, Err *err)
{
    const char *env = getenv("KUBECONFIG");
    CLEANUP_FREE char *home = home_config();
    if (!path)
        path = env && *env ? env : home;
    if (!path)
        return err_set(err, ERR_NOT_FOUND, "no kubeconfig file: neither KUBECONFIG nor HOME is set");
    return load_list(path, context, ret, err);
}

/* ---- in a pod ---- */

int kube_config_in_cluster(const char *dir, KubeConfig *ret, Err *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    if (!host || !*host || !port || !*port)
        return err_set(err, ERR_NOT_FOUND, "not in a cluster: KUBERNETES_SERVICE_HOST is not set");
    if (!dir)
        dir = KUBE_SERVICE_ACCOUNT_DIR;
    CLEANUP_FREE char *ca_file = path_join(dir, "ca.crt"), *ns_file = path_join(dir, "namespace");
    CLEANUP_BUF Buf ca = BUF_INIT(FILE_MAX);
    CLEANUP_BUF Buf ns = BUF_INIT(1024);
    int rc = file_read(ca_file, &ca, err);
    if (rc < 0)
        return err_wrap(err, "in-cluster settings");
    const char *bracket = strchr(host, ':') ? "[" : "";
    *ret = (KubeConfig){
        .server = xasprintf("https://%s%s%s:%s", bracket, host, *bracket ? "]" : "", port),
        .ca_pem = buf_take(&ca),
        .token_file = path_join(dir, "token"),
        .ns = file_read(ns_file, &ns, NULL) == 0 ? str_dup(str_trim(buf_str(&ns))) : xstrdup("default"),
    };
    return 0;
}

int kube_config_find(const char *path, KubeConfig *ret, Err *err)
{
    const char *env = getenv("KUBECONFIG");
    CLEANUP_FREE char *home = home_config();
    if (path || (env && *env))
        return kube_config_load(path, NULL, ret, err);
    if (home && file_exists(home))
        return kube_config_load(home, NULL, ret, err);
    return kube_config_in_cluster(NULL, ret, err);
}

static void free_list(char **list)
{
    for (char **p = list; p && *p; p++)
        free(*p);
    free(list);
}

void kube_config_done(KubeConfig *c)
{
    char *const texts[] = {c->server,   c->ca_pem,     c->tls_server_name, c->proxy_url,
                           c->ns,       c->token_file, c->cert_file,       c->key_file,
                           c->cert_pem, c->as_user,    c->exec.api_version};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(texts[i]);
    secret_free(c->token);
    secret_free(c->key_pem);
    free_list(c->exec.argv);
    free_list(c->exec.env);
    *c = (KubeConfig){0};
}
