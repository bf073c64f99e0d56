#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "manifest-run.h"
#include "options.h"
#include "output.h"
#include "resource.h"

static int delete_one(App *app, const Args *a, const Resource *r, const char *name, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_FREE char *kind = xstrdup(arg_at(a, 0));
    for (char *p = kind; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
    int rc = app_confirm(app, err, "Delete %s/%s", kind, name);
    if (rc <= 0)
        return rc;
    rc = resource_resolve(app, r, name, &path, NULL, err);
    if (rc == -ERR_NOT_FOUND && opt_bool(a, "ignore-not-found"))
        return 0;
    if (rc == 0)
        rc = app_call(app, "DELETE", path, NULL, NULL, err);
    if (rc < 0)
        return err_wrap(err, "delete %s \"%s\"", r->noun, name);
    printf("%s/%s deleted\n", r->noun, name);
    return 0;
}

static bool session_is_active(const json_t *s)
{
    Phase p = phase_parse(json_get_strv(s, "phase"));
    return phase_is_active(p);
}

/* One session of --all; what fails is told and the others go on. */
static int delete_session(App *app, const json_t *s, bool *ret_stopped)
{
    Err err = {0};
    const char *id = json_get_str(s, "id");
    CLEANUP_FREE char *path = xasprintf("/sessions/%s", id);
    CLEANUP_FREE char *stop = xasprintf("%s/stop", path);
    *ret_stopped = session_is_active(s);
    const char *what = "stop";
    int rc = *ret_stopped ? app_call(app, "POST", stop, NULL, NULL, &err) : 0;
    if (rc == 0 || rc == -ERR_CONFLICT) {
        what = "delete";
        rc = app_call(app, "DELETE", path, NULL, NULL, &err);
    }
    if (rc < 0)
        fprintf(stderr, "session/%s: %s failed: %s\n", id, what, err.msg);
    return rc;
}

static int delete_all(App *app, const Resource *r, Err *err)
{
    if (strcmp(r->noun, "session") != 0)
        return err_set(err, ERR_USAGE, "--all is only supported for sessions; got \"%s\"", r->noun);
    CLEANUP_JSON json_t *list = NULL;
    int rc = app_list(app, "/sessions", NULL, 0, &list, err);
    if (rc < 0)
        return rc;
    json_t *items = json_get_arr(list, "items");
    size_t n = json_array_size(items), stopped = 0, failed = 0;
    if (n == 0) {
        puts("no sessions to delete");
        return 0;
    }
    rc = app_confirm(app, err, "Delete all %zu sessions", n);
    if (rc <= 0)
        return rc;
    bool progress = isatty(STDERR_FILENO);
    for (size_t i = 0; i < n; i++) {
        bool was_active = false;
        if (progress)
            fprintf(stderr, "\r\033[K%zu of %zu", i + 1, n);
        failed += delete_session(app, json_array_get(items, i), &was_active) < 0;
        stopped += was_active;
    }
    fputs(progress ? "\r\033[K" : "", stderr);
    printf("%zu sessions deleted", n - failed);
    if (stopped)
        printf(" (%zu stopped first)", stopped);
    putchar('\n');
    return failed ? err_set(err, ERR_INTERNAL, "%zu of %zu sessions failed", failed, n) : 0;
}

static int cmd_delete(App *app, const Args *a, Err *err)
{
    if (manifests_given(a) && !args_len(a))
        return delete_manifests(app, a, err);
    if (!args_len(a))
        return err_set(err, ERR_USAGE, "accepts between 1 and 2 arg(s), received 0");
    const Resource *r = NULL;
    int rc = resource_need(arg_at(a, 0), &r, err);
    if (rc < 0)
        return rc;
    if (opt_bool(a, "all"))
        return delete_all(app, r, err);
    if (args_len(a) < 2)
        return err_set(err, ERR_USAGE, "resource name is required (or use --all)");
    return delete_one(app, a, r, arg_at(a, 1), err);
}

static const Opt opts_delete[] = {
    OPTS_YES,
    OPTS_PROJECT,
    OPTS_MANIFESTS,
    OPT("all", BOOL, "all sessions of the current project", .letter = 'A'),
    OPT("ignore-not-found", BOOL, "no error when there is none"),
    OPT("wait", BOOL, "until it is gone; it is, when the command ends"),
    {0},
};

const Command commands_delete[] = {
    {.words = "delete",
     .usage = "RESOURCE [NAME]",
     .min = 0,
     .max = 2,
     .help = "Delete a resource",
     .opts = opts_delete,
     .run = cmd_delete,
     .examples = "delete session nightly -y\n"
                 "# stops what still runs\n"
                 "delete sessions --all -y\n"
                 "delete -f fleet/ -y"},
    {0},
};
