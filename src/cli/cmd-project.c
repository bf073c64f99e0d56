#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "options.h"
#include "output.h"
#include "resource.h"

static int check_name(const char *name, Err *err)
{
    size_t n = strlen(name);
    bool ok = n > 0 && n <= 63 && name[0] != '-' && name[n - 1] != '-' &&
              strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
    return ok ? 0
              : err_set(err, ERR_USAGE,
                        "invalid project name: \"%s\" must be at most 63 of a-z, 0-9 and '-', and neither "
                        "begin nor "
                        "end with '-'",
                        name);
}

static int cmd_project_current(App *app, const Args *a, Err *err)
{
    ConfigSource source;
    const char *p = config_get(app->cfg, "project", &source);
    FILE *out = p || stdout_is_terminal() ? stdout : stderr;
    if (!p)
        fputs("No project context set\nUse 'acpctl project set <project-name>' to set a project context\n",
              out);
    else if (source == CONFIG_ENV && stdout_is_terminal())
        fprintf(out, "Current project: %s (from AMBIENT_PROJECT environment variable)\n", p);
    else
        fprintf(out, "Current project: %s\n", p);
    return 0;
}

static int cmd_project(App *app, const Args *a, Err *err)
{
    const char *name = arg_at(a, 0);
    if (!name)
        return cmd_project_current(app, a, err);
    CLEANUP_JSON json_t *obj = NULL;
    int rc = check_name(name, err);
    if (rc == 0)
        rc = app_get(app, &obj, err, "/projects/%s", name);
    if (rc == -ERR_NOT_FOUND)
        return err_set(err, ERR_NOT_FOUND,
                       "project \"%s\" does not exist; create it first with: acpctl create project --name %s",
                       name, name);
    if (rc < 0)
        return rc;
    config_set(app->cfg, "project", name);
    rc = config_save(app->cfg, err);
    if (rc == 0)
        printf("Switched to project \"%s\"\n", name);
    return rc;
}

static int cmd_project_list(App *app, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *list = NULL;
    int rc = app_list(app, "/projects", NULL, opt_int(a, "limit"), &list, err);
    if (rc < 0)
        return err_wrap(err, "list projects");
    if (!opt_given(a, "output") && json_array_size(json_get_arr(list, "items")) == 0) {
        puts("No projects found");
        return 0;
    }
    return print_list(a, list, "project", "NAME:name:30 DESCRIPTION:description:50 AGE:created_at:10", NULL,
                      err);
}

static int cmd_project_update(App *app, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *body = json_object();
    CLEANUP_JSON json_t *obj = NULL;
    static const char *const members[] = {"name", "description", "prompt", "labels", "annotations"};
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        body_str(body, a, members[i], members[i]);
    CLEANUP_FREE char *path = NULL;
    int rc = resource_resolve(app, resource_find("project"), arg_at(a, 0), &path, NULL, err);
    if (rc == 0)
        rc = app_call(app, "PATCH", path, body, &obj, err);
    if (rc < 0)
        return err_wrap(err, "update project \"%s\"", arg_at(a, 0));
    printf("project/%s updated\n", json_get_str(obj, "name"));
    return 0;
}

static const Opt opts_list[] = {OPTS_OUTPUT, OPTS_NO_HEADERS, OPTS_LIMIT, {0}};
static const Opt opts_update[] = {
    OPT("name", STR, "name"),
    OPT("description", STR, "description"),
    OPT("prompt", STR, "context of every agent in the project"),
    OPT("labels", STR, "labels as JSON"),
    OPT("annotations", STR, "annotations as JSON"),
    {0},
};

const Command commands_project[] = {
    {.words = "project",
     .usage = "[PROJECT]",
     .min = 0,
     .max = 1,
     .help = "Show or set the current project",
     .run = cmd_project,
     .examples = "project\nproject demo"},
    {.words = "project current",
     .usage = "",
     .help = "Show the current project",
     .run = cmd_project_current,
     .examples = "project current"},
    {.words = "project set",
     .usage = "PROJECT",
     .min = 1,
     .max = 1,
     .help = "Set the current project",
     .run = cmd_project,
     .examples = "project set demo"},
    {.words = "project list",
     .aliases = "ls",
     .usage = "",
     .help = "List projects",
     .opts = opts_list,
     .run = cmd_project_list,
     .examples = "project list"},
    {.words = "project update",
     .usage = "PROJECT",
     .min = 1,
     .max = 1,
     .help = "Change a project",
     .opts = opts_update,
     .run = cmd_project_update,
     .examples = "project update demo --description \"for trying things\""},
    {0},
};
