/* get, describe, create, delete, start, stop: one function each over the resource table. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "output.h"
#include "resource.h"

/* ---- get ---- */

static int list_query(const Args *a, Buf *out, Err *err)
{
    static const struct {
        const char *opt, *param;
    } map[] = {{"search", "search"}, {"sort-by", "orderBy"}};
    for (size_t i = 0; i < ARRAY_LEN(map); i++) {
        if (!opt_given(a, map[i].opt))
            continue;
        CLEANUP_FREE char *value = path_segment(opt_str(a, map[i].opt));
        buf_addf(out, "%s%s=%s", out->len ? "&" : "", map[i].param, value);
    }
    return buf_check(out, err);
}

static int get_list(App *app, const Args *a, const Resource *r, const char *path, Err *err)
{
    CLEANUP_BUF Buf query = BUF_INIT(32768);
    CLEANUP_JSON json_t *list = NULL;
    int rc = list_query(a, &query, err);
    if (rc == 0)
        rc = app_list(app, path, query.data, opt_int(a, "limit"), &list, err);
    if (rc < 0)
        return err_wrap(err, "list %s", r->plural);
    const char *project = app_project_or_null(app);
    CLEANUP_FREE char *empty = r->scoped && project
                                   ? xasprintf("No %s found in project \"%s\".", r->plural, project)
                                   : xasprintf("No %s found.", r->plural);
    return print_list(a, list, r->noun, resource_columns(r), empty, err);
}

/* get sessions --project-agent NAME: that agent's sessions. */
static int get_agent_sessions(App *app, const Args *a, const Resource *r, Err *err)
{
    CLEANUP_FREE char *agent = NULL;
    int rc = resource_resolve(app, resource_find("agent"), opt_str(a, "project-agent"), &agent, NULL, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *path = xasprintf("%s/sessions", agent);
    return get_list(app, a, r, path, err);
}

static int check_watch(const Args *a, const Resource *r, Err *err)
{
    if (strcmp(r->noun, "session") != 0)
        return err_set(err, ERR_USAGE, "--watch is only supported for sessions, not %s", r->plural);
    if (args_len(a) > 1)
        return err_set(err, ERR_USAGE, "watch cannot be used with a specific resource name");
    return 0;
}

int cmd_get(App *app, const Args *a, Err *err)
{
    const Resource *r = NULL;
    int rc = resource_need(arg_at(a, 0), &r, err);
    if (rc == 0 && opt_bool(a, "watch"))
        rc = check_watch(a, r, err);
    if (rc == 0)
        rc = app_client(app, err);
    if (rc < 0)
        return rc;
    if (opt_bool(a, "watch"))
        return watch_sessions(app, a, err);
    if (opt_given(a, "project-agent") && strcmp(r->noun, "session") == 0)
        return get_agent_sessions(app, a, r, err);
    if (args_len(a) > 1) {
        CLEANUP_JSON json_t *obj = NULL;
        rc = resource_get(app, r, arg_at(a, 1), &obj, err);
        return rc < 0 ? rc : print_object(a, obj, r->noun, resource_columns(r), err);
    }
    CLEANUP_FREE char *path = NULL;
    rc = resource_path(app, r, &path, err);
    return rc < 0 ? rc : get_list(app, a, r, path, err);
}

int cmd_describe(App *app, const Args *a, Err *err)
{
    const Resource *r = NULL;
    CLEANUP_JSON json_t *obj = NULL;
    int rc = resource_need(arg_at(a, 0), &r, err);
    if (rc == 0)
        rc = resource_get(app, r, arg_at(a, 1), &obj, err);
    if (rc < 0)
        return rc;
    return opt_given(a, "output") ? print_object(a, obj, r->noun, resource_columns(r), err) : print_json(obj);
}

/* ---- create ---- */

typedef enum CreateType { C_STR, C_INT, C_FLOAT } CreateType;

/* Which option fills which member, and for which kinds it is there. */
static const struct {
    const char *opt, *member, *nouns;
    CreateType type;
} create_map[] = {
    {"name", "name", "session project agent user", C_STR},
    {"prompt", "prompt", "session project agent", C_STR},
    {"description", "description", "project agent", C_STR},
    {"display-name", "display_name", "agent", C_STR},
    {"repo-url", "repo_url", "session agent", C_STR},
    {"model", "llm_model", "session agent", C_STR},
    {"max-tokens", "llm_max_tokens", "session agent", C_INT},
    {"temperature", "llm_temperature", "session agent", C_FLOAT},
    {"timeout", "timeout", "session", C_INT},
    {"agent-id", "agent_id", "session", C_STR},
    {"owner-user-id", "owner_user_id", "agent", C_STR},
    {"labels", "labels", "session project agent", C_STR},
    {"annotations", "annotations", "session project agent", C_STR},
    {"username", "username", "user", C_STR},
    {"email", "email", "user", C_STR},
    {"group-access", "group_access", "project-settings", C_STR},
    {"repositories", "repositories", "project-settings", C_STR},
};

static bool applies(const char *nouns, const char *noun)
{
    Str rest = str_from(nouns);
    while (rest.ptr) {
        if (str_eqz(str_cut(&rest, ' '), noun))
            return true;
    }
    return false;
}

static int create_body(App *app, const Args *a, const Resource *r, json_t *body, Err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(create_map); i++) {
        const char *opt = create_map[i].opt;
        if (!opt_given(a, opt))
            continue;
        if (!applies(create_map[i].nouns, r->noun))
            fprintf(stderr, "Warning: --%s is not applicable to this resource type and will be ignored\n",
                    opt);
        else if (create_map[i].type == C_INT)
            body_int(body, a, opt, create_map[i].member);
        else if (create_map[i].type == C_FLOAT)
            body_float(body, a, opt, create_map[i].member);
        else
            body_str(body, a, opt, create_map[i].member);
    }
    if (strcmp(r->noun, "session") == 0 && !opt_given(a, "prompt") && args_len(a) > 1)
        json_object_set_new(body, "prompt", json_string(arg_at(a, 1)));
    if (strcmp(r->noun, "session") == 0 && opt_bool(a, "interactive"))
        json_object_set_new(body, "interactive", json_true());
    if (!r->scoped)
        return 0;
    const char *project = NULL;
    int rc = app_project(app, &project, err);
    if (rc == 0)
        json_object_set_new(body, "project_id", json_string(project));
    return rc == 0 && strcmp(r->kind->name, "ProjectSettings") != 0 ? body_env(body, a, err) : rc;
}

static int project_created(App *app, const Args *a, const json_t *obj, Err *err)
{
    Format f = FORMAT_TABLE;
    int rc = format_of(a, &f, err);
    if (rc < 0 || opt_bool(a, "no-switch"))
        return rc;
    config_set(app->cfg, "project", json_get_str(obj, "id"));
    rc = config_save(app->cfg, err);
    if (rc == 0)
        fprintf(f == FORMAT_TABLE ? stdout : stderr, "Switched to project \"%s\"\n", json_get_str(obj, "id"));
    return rc;
}

static int check_create(const Args *a, const Resource *r, Err *err)
{
    bool needs_name = r->kind->name_field >= 0 && strcmp(r->noun, "user") != 0;
    if (needs_name && (!opt_given(a, "name") || !*opt_str(a, "name")))
        return err_set(err, ERR_USAGE, "--name is required");
    if (args_len(a) > 1 && strcmp(r->noun, "session") != 0)
        return err_set(err, ERR_USAGE, "accepts 1 arg(s), received %zu", args_len(a));
    return 0;
}

int cmd_create(App *app, const Args *a, Err *err)
{
    const Resource *r = NULL;
    CLEANUP_JSON json_t *body = json_object();
    CLEANUP_JSON json_t *obj = NULL;
    CLEANUP_FREE char *path = NULL;
    int rc = resource_need(arg_at(a, 0), &r, err);
    if (rc == 0)
        rc = check_create(a, r, err);
    if (rc == 0)
        rc = create_body(app, a, r, body, err);
    if (rc == 0)
        rc = resource_path(app, r, &path, err);
    if (rc < 0)
        return rc;
    rc = app_call(app, "POST", path, body, &obj, err);
    if (rc == -ERR_NOT_FOUND && strcmp(r->noun, "session") == 0)
        return err_set(err, ERR_NOT_FOUND,
                       "project \"%s\" does not exist; run 'acpctl project <name>' to switch projects",
                       app_project_or_null(app));
    if (rc < 0)
        return err_wrap(err, "create %s", r->noun);
    if (strcmp(r->noun, "project") == 0 && (rc = project_created(app, a, obj, err)) < 0)
        return rc;
    if (opt_given(a, "output"))
        return print_object(a, obj, r->noun, resource_columns(r), err);
    printf("%s/%s created\n", r->noun, json_get_str(obj, "id"));
    return 0;
}

/* ---- delete ---- */

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
    for (size_t i = 0; i < n; i++) {
        bool was_active = false;
        failed += delete_session(app, json_array_get(items, i), &was_active) < 0;
        stopped += was_active;
    }
    printf("%zu sessions deleted", n - failed);
    if (stopped)
        printf(" (%zu stopped first)", stopped);
    putchar('\n');
    return failed ? err_set(err, ERR_INTERNAL, "%zu of %zu sessions failed", failed, n) : 0;
}

int cmd_delete(App *app, const Args *a, Err *err)
{
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

/* ---- start, stop ---- */

static int start_session(App *app, const Args *a, const char *name, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *obj = NULL;
    int rc = resource_resolve(app, resource_find("session"), name, &path, NULL, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *start = xasprintf("%s/start", path);
    rc = app_call(app, "POST", start, NULL, &obj, err);
    if (rc < 0)
        return err_wrap(err, "start session \"%s\"", name);
    if (opt_given(a, "output"))
        return print_object(a, obj, "session", kind_session.columns, err);
    printf("session/%s started (phase: %s)\n", json_get_str(obj, "id"), json_get_str(obj, "phase"));
    return 0;
}

int cmd_start(App *app, const Args *a, Err *err)
{
    const char *session = opt_str(a, "session");
    if (session)
        return start_session(app, a, session, err);
    if (!arg_at(a, 0))
        return err_set(err, ERR_USAGE, "agent name or ID is required (or --session)");
    return cmd_agent_start(app, a, err);
}

int cmd_stop(App *app, const Args *a, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *obj = NULL;
    int rc = resource_resolve(app, resource_find("session"), arg_at(a, 0), &path, NULL, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *stop = xasprintf("%s/stop", path);
    rc = app_call(app, "POST", stop, NULL, &obj, err);
    if (rc < 0)
        return err_wrap(err, "stop session \"%s\"", arg_at(a, 0));
    printf("session/%s stopped (phase: %s)\n", json_get_str(obj, "id"), json_get_str(obj, "phase"));
    return 0;
}
