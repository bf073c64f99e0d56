/* application: projects that follow a Git repository. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include <poll.h>
#include "base/mem.h"
#include "noun.h"
#include "options.h"
#include "output.h"

static const Member members[] = {
    {"name", "name", MEMBER_STR},
    {"source-repo-url", "source_repo_url", MEMBER_STR},
    {"source-path", "source_path", MEMBER_STR},
    {"source-target-revision", "source_target_revision", MEMBER_STR},
    {"destination-project", "destination_project", MEMBER_STR},
    {"destination-url", "destination_ambient_url", MEMBER_STR},
    {"auto-sync", "auto_sync", MEMBER_BOOL},
    {"auto-prune", "auto_prune", MEMBER_BOOL},
    {"self-heal", "self_heal", MEMBER_BOOL},
    {"retry-limit", "retry_limit", MEMBER_INT},
    {"sync-options", "sync_options", MEMBER_STR},
    {"labels", "labels", MEMBER_STR},
    {"annotations", "annotations", MEMBER_STR},
    {0},
};

static const char noun[] = "application";

static int fill(App *app, const Args *a, json_t *body, Err *err)
{
    noun_members(a, members, body);
    return noun_reference(app, a, "credential-id", "credential", "credential_id", body, err);
}

int application_create(App *app, const Args *a, bool by_id, Err *err)
{
    static const char *const needed[] = {"name", "source-repo-url", "source-path", "destination-project"};
    CLEANUP_JSON json_t *body = json_object();
    CLEANUP_JSON json_t *obj = NULL;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(needed); i++)
        rc = noun_need(a, needed[i], err);
    if (rc == 0)
        rc = fill(app, a, body, err);
    if (rc < 0 || !by_id)
        return rc < 0 ? rc : noun_create(app, a, noun, body, err);
    rc = app_call(app, "POST", "/applications", body, &obj, err);
    if (rc < 0)
        return err_wrap(err, "create application");
    if (opt_given(a, "output"))
        return print_object(a, obj, noun, kind_application.columns, err);
    printf("application/%s created\n", json_get_str(obj, "id"));
    return 0;
}

static int cmd_list(App *app, const Args *a, Err *err)
{
    return noun_list(app, a, noun, NULL, err);
}

static int cmd_get(App *app, const Args *a, Err *err)
{
    return noun_get(app, a, noun, err);
}

static int cmd_create(App *app, const Args *a, Err *err)
{
    return application_create(app, a, false, err);
}

static int cmd_update(App *app, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *body = json_object();
    int rc = fill(app, a, body, err);
    return rc < 0 ? rc : noun_update(app, a, noun, body, err);
}

static int cmd_delete(App *app, const Args *a, Err *err)
{
    return noun_delete(app, a, noun, err);
}

/* ---- sync, refresh, status ---- */

/* Servers without the routes take a change of the status for the wish. */
static int operate(App *app, const Args *a, const char *action, const json_t *body, const char *member,
                   const char *value, json_t **ret, Err *err)
{
    Err e = {0};
    CLEANUP_FREE char *path = NULL;
    int rc = resource_resolve(app, resource_find(noun), arg_at(a, 0), &path, NULL, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *full = xasprintf("%s%s", path, action);
    rc = app_call(app, "POST", full, body, ret, &e);
    if (rc == -ERR_NOT_FOUND || rc == -ERR_METHOD_NOT_ALLOWED || rc == -ERR_UNIMPLEMENTED) {
        CLEANUP_JSON json_t *patch = json_pack("{s:s}", member, value);
        e = (Err){0};
        rc = app_call(app, "PATCH", path, patch, ret, &e);
    }
    return rc < 0 ? err_set(err, e.code, "%s application \"%s\": %s", action + 1, arg_at(a, 0), e.msg) : 0;
}

static bool is_over(const json_t *status)
{
    return !str_eqz(json_get_strv(status, "operation_phase"), "Running");
}

/* Until the operation is over; its outcome is the command's. */
static int wait_for_sync(App *app, const Args *a, const char *id, Err *err)
{
    Usec end = usec_add(clock_now(&clock_system), opt_duration(a, "timeout"));
    for (;;) {
        CLEANUP_JSON json_t *status = NULL;
        int rc = app_get(app, &status, err, "/applications/%s/status", id);
        if (rc < 0)
            return rc;
        if (is_over(status)) {
            Str phase = json_get_strv(status, "operation_phase");
            Str why = json_get_strv(status, "operation_message");
            if (!str_eqz(phase, "Succeeded"))
                return err_set(err, ERR_INTERNAL, "sync of application \"%s\" failed: " STR_FMT, arg_at(a, 0),
                               STR_ARG(why));
            printf("application/%s synced\n", arg_at(a, 0));
            return 0;
        }
        if (clock_now(&clock_system) >= end)
            return err_set(err, ERR_DEADLINE,
                           "sync of application \"%s\" goes on; see: acpctl application status %s",
                           arg_at(a, 0), arg_at(a, 0));
        (void)poll(NULL, 0, 500);
    }
}

static int cmd_sync(App *app, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *body = json_object();
    CLEANUP_JSON json_t *obj = NULL;
    if (opt_bool(a, "prune"))
        json_object_set_new(body, "prune", json_true());
    body_str(body, a, "revision", "revision");
    int rc = operate(app, a, "/sync", body, "operation_phase", "Running", &obj, err);
    if (rc < 0)
        return rc;
    printf("application/%s sync triggered\n", json_get_str(obj, "name"));
    return opt_bool(a, "wait") ? wait_for_sync(app, a, json_get_str(obj, "id"), err) : 0;
}

static int cmd_refresh(App *app, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *obj = NULL;
    int rc = operate(app, a, "/refresh", NULL, "sync_status", "Unknown", &obj, err);
    if (rc == 0)
        printf("application/%s refresh triggered\n", json_get_str(obj, "name"));
    return rc;
}

static void status_line(const char *label, const json_t *status, const char *member)
{
    CLEANUP_BUF Buf text = BUF_INIT(64 * 1024);
    clean_text(&text, json_get_strv(status, member), false);
    if (text.len)
        printf("%-12s" STR_FMT "\n", label, STR_ARG(buf_str(&text)));
}

static void status_resources(const json_t *status)
{
    const json_t *all = json_get_arr(status, "resource_status");
    if (!json_array_size(all))
        return;
    putchar('\n');
    CLEANUP(table_freep)
    Table *t = table_new("KIND:kind:18 NAME:name:30 STATUS:status:12 HEALTH:health:12 MESSAGE:message:40",
                         false, true);
    for (size_t i = 0; i < json_array_size(all); i++)
        table_row(t, json_array_get(all, i));
}

static int cmd_status(App *app, const Args *a, Err *err)
{
    Format f = FORMAT_TABLE;
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *status = NULL;
    int rc = format_of(a, &f, err);
    if (rc == 0)
        rc = resource_resolve(app, resource_find(noun), arg_at(a, 0), &path, NULL, err);
    if (rc == 0)
        rc = app_get(app, &status, err, "%s/status", path);
    if (rc < 0)
        return err_wrap(err, "status of application \"%s\"", arg_at(a, 0));
    if (f != FORMAT_TABLE && f != FORMAT_WIDE)
        return print_object(a, status, noun, kind_application.columns, err);
    status_line("Sync:", status, "sync_status");
    status_line("Health:", status, "health_status");
    status_line("Revision:", status, "sync_revision");
    status_line("Operation:", status, "operation_phase");
    status_line("Message:", status, "operation_message");
    status_line("Synced at:", status, "last_synced_at");
    status_resources(status);
    return 0;
}

#define OPTS_MEMBERS                                                                                         \
    OPT("source-repo-url", STR, "Git repository"),                                                           \
        OPT("source-path", STR, "folder of a kustomization in it"),                                          \
        OPT("source-target-revision", STR, "branch, tag or commit (default main)"),                          \
        OPT("destination-project", STR, "project that follows it", .values = "PROJECT"),                     \
        OPT("destination-url", STR, "API of another installation"),                                          \
        OPT("credential-id", STR, "credential for that one, by name or id", .values = "CREDENTIAL"),         \
        OPT("auto-sync", BOOL, "sync when the repository moves"),                                            \
        OPT("auto-prune", BOOL, "delete what the repository does not name any more"),                        \
        OPT("self-heal", BOOL, "sync when somebody changed what was synced"),                                \
        OPT("retry-limit", INT, "how often a failed sync is tried again"),                                   \
        OPT("sync-options", STR, "comma list, e.g. CreateProject=true"),                                     \
        OPT("labels", STR, "labels as JSON"), OPT("annotations", STR, "annotations as JSON")

static const Opt opts_list[] = {OPTS_OUTPUT, OPTS_NO_HEADERS, OPTS_LIMIT, {0}};
static const Opt opts_create[] = {OPTS_OUTPUT, OPT("name", STR, "name"), OPTS_MEMBERS, {0}};
static const Opt opts_update[] = {OPTS_OUTPUT, OPT("name", STR, "new name"), OPTS_MEMBERS, {0}};
static const Opt opts_confirm[] = {OPTS_YES, {0}};
static const Opt opts_sync[] = {
    OPT("prune", BOOL, "delete what the repository does not name any more"),
    OPT("revision", STR, "this revision instead of the target's"),
    OPT("wait", BOOL, "until it is done; the exit status is its outcome"),
    OPT("timeout", DURATION, "longest wait", .dflt = "5m"),
    {0},
};
static const Opt opts_output[] = {OPTS_OUTPUT, OPTS_NO_HEADERS, {0}};

#define ONE .usage = "APPLICATION", .min = 1, .max = 1
const Command commands_application[] = {
    {.words = "application",
     .aliases = "applications app apps",
     .usage = "",
     .help = "Projects that follow a Git repository"},
    {.words = "application list",
     .aliases = "ls",
     .usage = "",
     .help = "List applications",
     .opts = opts_list,
     .run = cmd_list,
     .examples = "application list"},
    {.words = "application get",
     ONE,
     .help = "Show an application",
     .opts = opts_output,
     .run = cmd_get,
     .examples = "application get fleet -o yaml"},
    {.words = "application create",
     .usage = "",
     .help = "Create an application",
     .opts = opts_create,
     .run = cmd_create,
     .examples =
         "application create --name fleet --source-repo-url https://github.com/corp/fleet --source-path "
         "overlays/prod --destination-project fleet --auto-sync"},
    {.words = "application update",
     ONE,
     .help = "Change an application",
     .opts = opts_update,
     .run = cmd_update,
     .examples = "application update fleet --source-target-revision v2 --auto-sync=false"},
    {.words = "application delete",
     ONE,
     .help = "Delete an application",
     .opts = opts_confirm,
     .run = cmd_delete,
     .text = "What it has made stays.",
     .examples = "application delete fleet --confirm"},
    {.words = "application sync",
     ONE,
     .help = "Bring the project in step with the repository",
     .opts = opts_sync,
     .run = cmd_sync,
     .exits = "1 with --wait: the sync failed\n7 with --wait: it was not over in time",
     .examples = "application sync fleet --wait --prune"},
    {.words = "application refresh",
     ONE,
     .help = "Compare the project with the repository",
     .run = cmd_refresh,
     .examples = "application refresh fleet"},
    {.words = "application status",
     ONE,
     .help = "Show how an application stands, resource by resource",
     .opts = opts_output,
     .run = cmd_status,
     .examples = "application status fleet"},
    {0},
};
