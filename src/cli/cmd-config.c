#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "http/url.h"
#include "options.h"
#include "output.h"

static int check_key(const char *key, Err *err)
{
    if (config_key_known(key))
        return 0;
    CLEANUP_BUF Buf b = BUF_INIT(400);
    for (const char *const *k = config_keys; *k; k++)
        buf_addf(&b, "%s%s", b.len ? ", " : "", *k);
    return err_set(err, ERR_USAGE, "unknown config key: %s (valid keys: %s)", key, b.data);
}

static int cmd_config_get(App *app, const Args *a, Err *err)
{
    const char *key = arg_at(a, 0);
    int rc = check_key(key, err);
    if (rc < 0)
        return rc;
    const char *v = config_get(app->cfg, key, NULL);
    if (!v && stdout_is_terminal()) {
        puts("(not set)");
        return 0;
    }
    if (!v)
        return err_set(err, ERR_NOT_FOUND, "%s is not set", key);
    puts(strcmp(key, "access_token") == 0 ? "[REDACTED]" : v);
    return 0;
}

static int check_value(const char *key, const char *value, Err *err)
{
    int64_t n;
    Url u;
    if (strcmp(key, "api_url") == 0 && (url_parse(str_from(value), &u, NULL) < 0 || !u.host.len))
        return err_set(err, ERR_USAGE, "api_url \"%s\": must include scheme and host", value);
    bool number = strcmp(key, "request_timeout") == 0 || strcmp(key, "polling_interval") == 0;
    if (number && (str_to_i64(str_from(value), &n) < 0 || n < 0))
        return err_set(err, ERR_USAGE, "%s \"%s\": must be a whole number of seconds", key, value);
    if (strcmp(key, "insecure_tls_verify") == 0 && strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
        return err_set(err, ERR_USAGE, "%s \"%s\": must be true or false", key, value);
    if (strcmp(key, "access_token") == 0)
        return err_set(err, ERR_USAGE,
                       "a token does not belong on the command line; use: acpctl login --token-file FILE");
    return 0;
}

static int cmd_config_set(App *app, const Args *a, Err *err)
{
    const char *key = arg_at(a, 0), *value = arg_at(a, 1);
    int rc = check_key(key, err);
    if (rc == 0)
        rc = check_value(key, value, err);
    if (rc < 0)
        return rc;
    config_set(app->cfg, key, value);
    rc = config_save(app->cfg, err);
    if (rc == 0)
        printf("Set %s = %s\n", key, value);
    return rc;
}

static int cmd_config_unset(App *app, const Args *a, Err *err)
{
    int rc = check_key(arg_at(a, 0), err);
    if (rc < 0)
        return rc;
    config_set(app->cfg, arg_at(a, 0), NULL);
    rc = config_save(app->cfg, err);
    if (rc == 0)
        printf("Unset %s\n", arg_at(a, 0));
    return rc;
}

static int cmd_config_view(App *app, const Args *a, Err *err)
{
    for (const char *const *k = config_keys; *k; k++) {
        ConfigSource source;
        static const char *const words[] = {"", " (default)", "", " (environment)", " (flag)"};
        const char *v = config_get(app->cfg, *k, &source);
        if (v)
            printf("%s = %s%s\n", *k, strcmp(*k, "access_token") == 0 ? "[REDACTED]" : v, words[source]);
    }
    return 0;
}

static int cmd_config_contexts(App *app, const Args *a, Err *err)
{
    CLEANUP(table_freep) Table *t = table_new("CURRENT:c:7 NAME:n:24 SERVER:s:48 PROJECT:p:24", false, true);
    const char *name;
    json_t *ctx;
    json_object_foreach(config_contexts(app->cfg), name, ctx)
    {
        bool current = config_context(app->cfg) && strcmp(config_context(app->cfg), name) == 0;
        Str cells[] = {str_from(current ? "*" : ""), str_from(name), json_get_strv(ctx, "server"),
                       json_get_strv(ctx, "project")};
        table_row_cells(t, cells, ARRAY_LEN(cells));
    }
    return 0;
}

static int cmd_config_use(App *app, const Args *a, Err *err)
{
    int rc = config_use_context(app->cfg, arg_at(a, 0), false, err);
    if (rc == 0)
        rc = config_save(app->cfg, err);
    if (rc == 0)
        printf("Switched to context \"%s\"\n", arg_at(a, 0));
    return rc;
}

static int cmd_config_rename(App *app, const Args *a, Err *err)
{
    int rc = config_rename_context(app->cfg, arg_at(a, 0), arg_at(a, 1), err);
    if (rc == 0)
        rc = config_save(app->cfg, err);
    if (rc == 0)
        printf("Context \"%s\" renamed to \"%s\"\n", arg_at(a, 0), arg_at(a, 1));
    return rc;
}

static int cmd_config_delete(App *app, const Args *a, Err *err)
{
    int rc = config_delete_context(app->cfg, arg_at(a, 0), err);
    if (rc == 0)
        rc = config_save(app->cfg, err);
    if (rc == 0)
        printf("Deleted context \"%s\"\n", arg_at(a, 0));
    return rc;
}

const Command commands_config[] = {
    {.words = "config", .usage = "", .help = "Settings and contexts"},
    {.words = "config get",
     .usage = "KEY",
     .min = 1,
     .max = 1,
     .help = "Print a setting",
     .run = cmd_config_get,
     .examples = "config get api_url"},
    {.words = "config set",
     .usage = "KEY VALUE",
     .min = 2,
     .max = 2,
     .help = "Change a setting",
     .run = cmd_config_set,
     .examples = "config set project demo"},
    {.words = "config unset",
     .usage = "KEY",
     .min = 1,
     .max = 1,
     .help = "Remove a setting",
     .run = cmd_config_unset,
     .examples = "config unset project"},
    {.words = "config view",
     .usage = "",
     .help = "Print all settings",
     .run = cmd_config_view,
     .examples = "config view"},
    {.words = "config get-contexts",
     .usage = "",
     .help = "List contexts",
     .run = cmd_config_contexts,
     .examples = "config get-contexts"},
    {.words = "config use-context",
     .usage = "CONTEXT",
     .min = 1,
     .max = 1,
     .help = "Switch to a context",
     .run = cmd_config_use,
     .examples = "config use-context staging"},
    {.words = "config rename-context",
     .usage = "CONTEXT NEW",
     .min = 2,
     .max = 2,
     .help = "Rename a context",
     .run = cmd_config_rename,
     .examples = "config rename-context local laptop"},
    {.words = "config delete-context",
     .usage = "CONTEXT",
     .min = 1,
     .max = 1,
     .help = "Delete a context",
     .run = cmd_config_delete,
     .examples = "config delete-context staging"},
    {0},
};
