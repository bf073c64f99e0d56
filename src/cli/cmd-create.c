/* create: which option fills which member of which kind. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "manifest-run.h"
#include "options.h"
#include "output.h"
#include "resource.h"
#include "role.h"

typedef enum CreateType { C_STR, C_INT, C_FLOAT, C_OWN /* read by the kind's own code */ } CreateType;

/* Which option fills which member, and for which kinds it is there. */
static const struct {
    const char *opt, *member, *nouns;
    CreateType type;
} create_map[] = {
    {"name", "name", "session project agent user role", C_STR},
    {"prompt", "prompt", "session project agent", C_STR},
    {"description", "description", "project agent role", C_STR},
    {"display-name", "display_name", "agent role", C_STR},
    {"permissions", "permissions", "role", C_STR},
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
    {"role-id", NULL, "role-binding", C_OWN},
    {"user-id", NULL, "role-binding", C_OWN},
    {"scope", NULL, "role-binding", C_OWN},
    {"scope-id", NULL, "role-binding", C_OWN},
    {"project-id-fk", NULL, "role-binding", C_OWN},
    {"agent-id-fk", NULL, "role-binding", C_OWN},
    {"session-id-fk", NULL, "role-binding", C_OWN},
    {"credential-id-fk", NULL, "role-binding", C_OWN},
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
        else if (create_map[i].type == C_STR)
            body_str(body, a, opt, create_map[i].member);
    }
    if (r->kind == &kind_role_binding)
        return binding_body(app, a, body, err);
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

/* Kinds whose commands of their own know more: where a secret or a time is asked for, there is one place. */
static int check_kind(const Resource *r, Err *err)
{
    if (r->kind == &kind_credential || r->kind == &kind_scheduled_session)
        return err_set(err, ERR_USAGE, "use: acpctl %s create", r->noun);
    if (r->kind == &kind_audit_event)
        return err_set(err, ERR_USAGE, "%s are made by the server", r->plural);
    return 0;
}

static bool is_empty(const Args *a, const char *opt)
{
    const char *v = opt_str(a, opt);
    return !v || !*v;
}

static int check_create(const Args *a, const Resource *r, Err *err)
{
    if (strcmp(r->noun, "user") == 0 && is_empty(a, "username"))
        return err_set(err, ERR_USAGE, "--username is required");
    if (r->kind->name_field >= 0 && is_empty(a, "name"))
        return err_set(err, ERR_USAGE, "--name is required");
    if (args_len(a) > 1 && strcmp(r->noun, "session") != 0)
        return err_set(err, ERR_USAGE, "accepts 1 arg(s), received %zu", args_len(a));
    return 0;
}

static int cmd_create(App *app, const Args *a, Err *err)
{
    if (manifests_given(a) && !args_len(a))
        return create_manifests(app, a, err);
    if (!args_len(a))
        return err_set(err, ERR_USAGE, "accepts between 1 and 2 arg(s), received 0");
    const Resource *r = NULL;
    CLEANUP_JSON json_t *body = json_object();
    CLEANUP_JSON json_t *obj = NULL;
    CLEANUP_FREE char *path = NULL;
    int rc = resource_need(arg_at(a, 0), &r, err);
    if (rc == 0)
        rc = check_kind(r, err);
    if (rc == 0)
        rc = check_create(a, r, err);
    if (rc == 0 && r->kind == &kind_application)
        return application_create(app, a, true, err);
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

static const Opt opts_create[] = {
    OPTS_OUTPUT,
    OPTS_PROJECT,
    OPTS_ENV,
    OPTS_MANIFESTS,
    OPT("name", STR, "name"),
    OPT("prompt", STR, "prompt"),
    OPT("description", STR, "description"),
    OPT("display-name", STR, "display name"),
    OPT("repo-url", STR, "git repository"),
    OPT("model", STR, "model"),
    OPT("max-tokens", INT, "output limit of the model"),
    OPT("temperature", FLOAT, "temperature"),
    OPT("timeout", INT, "time limit of a run in seconds"),
    OPT("interactive", BOOL, "session: stay for more messages"),
    OPT("agent-id", STR, "session: the agent", .values = "AGENT"),
    OPT("owner-user-id", STR, "agent: its owner"),
    OPT("labels", STR, "labels as JSON"),
    OPT("annotations", STR, "annotations as JSON"),
    OPT("username", STR, "user: user name"),
    OPT("email", STR, "user: mail address"),
    OPT("group-access", STR, "project-settings: JSON"),
    OPT("repositories", STR, "project-settings: JSON"),
    OPT("no-switch", BOOL, "project: do not make it the current one"),
    OPT("permissions", STR, "role: JSON array of resource:action"),
    OPT("role-id", STR, "role-binding: role, by name or id", .values = "ROLE"),
    OPT_ALIAS("role", "role-id"),
    OPT("user-id", STR, "role-binding: user name"),
    OPT_ALIAS("user", "user-id"),
    OPT("scope", STR, "role-binding: global, project, agent, session or credential",
        .values = "global project agent session credential"),
    OPT("scope-id", STR, "role-binding: what the scope names, by name or id"),
    OPT("project-id-fk", STR, "role-binding: project", .values = "PROJECT"),
    OPT("agent-id-fk", STR, "role-binding: agent, by name or id", .values = "AGENT"),
    OPT("session-id-fk", STR, "role-binding: session, by name or id", .values = "SESSION"),
    OPT("credential-id-fk", STR, "role-binding: credential, by name or id", .values = "CREDENTIAL"),
    OPT("source-repo-url", STR, "application: Git repository"),
    OPT("source-path", STR, "application: folder of a kustomization in it"),
    OPT("source-target-revision", STR, "application: branch, tag or commit"),
    OPT("destination-project", STR, "application: project that follows it", .values = "PROJECT"),
    OPT("destination-url", STR, "application: API of another installation"),
    OPT("credential-id", STR, "application: credential for that one", .values = "CREDENTIAL"),
    OPT("auto-sync", BOOL, "application: sync when the repository moves"),
    OPT("auto-prune", BOOL, "application: delete what the repository does not name any more"),
    OPT("self-heal", BOOL, "application: sync when somebody changed what was synced"),
    OPT("retry-limit", INT, "application: how often a failed sync is tried again"),
    {0},
};

const Command commands_create[] = {
    {.words = "create",
     .usage = "RESOURCE",
     .min = 0,
     .max = 2,
     .help = "Create a resource",
     .opts = opts_create,
     .run = cmd_create,
     .text =
         "An option that the kind does not have is named in a warning and ignored. A new project becomes the "
         "current one. With -f or -k the resources of manifests are made; one that is there already is an "
         "error.",
     .examples = "create project --name demo\n"
                 "create session --name nightly --prompt \"run the tests\"\n"
                 "create agent --name reviewer --prompt \"You review patches.\"\n"
                 "create role-binding --role project:editor --user bob --scope project --scope-id demo\n"
                 "create -f agent.yaml"},
    {0},
};
