#include "launcher-internal.h"

#include <libgen.h>
#include <string.h>
#include "base/file.h"
#include "base/mem.h"

#define CONTEXT "local"

/* cli.md 2.1 */
char *login_config_path(void)
{
    const char *file = getenv("AMBIENT_CONFIG"), *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (file && *file)
        return xstrdup(file);
    if (xdg && xdg[0] == '/')
        return path_join(xdg, "ambient/config.json");
    return home && home[0] == '/' ? path_join(home, ".config/ambient/config.json") : NULL;
}

static int load(const char *path, json_t **ret, Err *err)
{
    Err e = {0};
    int rc = json_parse_file(path, 1024 * 1024, ret, &e);
    if (rc == -ERR_NOT_FOUND) {
        *ret = json_object();
        return 0;
    }
    if (rc == 0 && !json_is_object(*ret))
        rc = err_set(&e, ERR_MALFORMED, "not a JSON object");
    if (rc < 0)
        return err_set(err, e.code, "acpctl's configuration %s: %s", path, e.msg);
    return 0;
}

/* A file of the older, flat form becomes one context, so that its login is not lost. */
static void lift_flat(json_t *cfg)
{
    if (json_get_obj(cfg, "contexts"))
        return;
    json_t *contexts = json_object();
    if (json_get_str(cfg, "access_token")) {
        json_t *old = json_object();
        json_object_set(old, "server", json_object_get(cfg, "api_url"));
        static const char *const keys[] = {"access_token", "project", "refresh_token", "issuer_url",
                                           "client_id"};
        for (size_t i = 0; i < ARRAY_LEN(keys); i++)
            json_object_set(old, keys[i], json_object_get(cfg, keys[i]));
        json_object_set_new(contexts, "previous", old);
        json_object_set_new(cfg, "current_context", json_string("previous"));
    }
    json_object_set_new(cfg, "contexts", contexts);
}

static void set_context(json_t *cfg, const State *s, Str token)
{
    json_t *contexts = json_get_obj(cfg, "contexts"), *ctx = json_get_obj(contexts, CONTEXT);
    if (!ctx) {
        ctx = json_object();
        json_object_set_new(contexts, CONTEXT, ctx);
    }
    CLEANUP_FREE char *url = xasprintf("http://%s", s->http);
    json_object_set_new(ctx, "server", json_string(url));
    json_object_set_new(ctx, "grpc_url", json_string(s->grpc));
    json_object_set_new(ctx, "access_token", json_strv(token));
    json_object_set_new(cfg, "current_context", json_string(CONTEXT));
    /* The active context stands in the flat keys too: other programs read those. */
    json_object_set_new(cfg, "api_url", json_string(url));
    json_object_set_new(cfg, "grpc_url", json_string(s->grpc));
    json_object_set_new(cfg, "access_token", json_strv(token));
    /* What belonged to another login there: the admin token is not renewed. */
    static const char *const gone[] = {
        "refresh_token", "issuer_url",     "client_id", "client_secret_file", "login_method",
        "scopes",        "token_renew_at", "ca_file",   "token_expires_at",   "insecure_tls_verify"};
    for (size_t i = 0; i < ARRAY_LEN(gone); i++) {
        json_object_del(cfg, gone[i]);
        json_object_del(ctx, gone[i]);
    }
    if (json_get_str(ctx, "project"))
        json_object_set(cfg, "project", json_object_get(ctx, "project"));
    else
        json_object_del(cfg, "project");
}

/* The lock is acpctl's: neither undoes what the other writes. */
static int lock_config(const char *path, int *ret, Err *err)
{
    CLEANUP_FREE char *copy = xstrdup(path);
    CLEANUP_FREE char *lock = xasprintf("%s.lock", path);
    int rc = dir_make(dirname(copy), 0700, err);
    return rc < 0 ? rc : file_lock_wait(lock, ret, err);
}

static int save(const char *path, const json_t *cfg, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(1024 * 1024);
    json_write_pretty(&text, cfg, 2);
    int rc = buf_check(&text, err);
    return rc < 0 ? rc : file_write_atomic(path, buf_str(&text), 0600, err);
}

int login_write(const Place *p, const State *s, FILE *out, Err *err)
{
    CLEANUP_FREE char *path = login_config_path();
    if (!path)
        return err_set(err, ERR_USAGE,
                       "neither HOME nor AMBIENT_CONFIG is set: no login for acpctl was written");
    CLEANUP(secret_freep) Secret *token = NULL;
    CLEANUP_JSON json_t *cfg = NULL;
    CLEANUP_FD int lock = -1;
    int rc = secret_from_file(p->token, &token, err);
    if (rc == 0)
        rc = lock_config(path, &lock, err);
    if (rc == 0)
        rc = load(path, &cfg, err);
    if (rc < 0)
        return rc;
    lift_flat(cfg);
    const char *was = json_get_str(cfg, "current_context");
    if (was && *was && strcmp(was, CONTEXT) != 0)
        fprintf(out, "acpctl now uses context \"" CONTEXT "\" (back with: acpctl config use-context %s)\n",
                was);
    set_context(cfg, s, secret_reveal(token));
    return save(path, cfg, err);
}
