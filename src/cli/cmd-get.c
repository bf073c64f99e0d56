/* get: lists and single objects, over the resource table. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "listing.h"
#include "options.h"
#include "output.h"
#include "resource.h"
#include "role.h"

/* A table of bindings has names where the other formats have the ids alone. */
static int show_names(App *app, const Args *a, json_t *list, Err *err)
{
    Format f = FORMAT_TABLE;
    int rc = format_of(a, &f, err);
    return rc == 0 && (f == FORMAT_TABLE || f == FORMAT_WIDE) ? binding_names(app, list, err) : rc;
}

static int show_list(App *app, const Args *a, const Resource *r, json_t *list, Err *err)
{
    int rc = r->kind == &kind_role_binding ? show_names(app, a, list, err) : 0;
    if (rc < 0)
        return rc;
    const char *project = app_project_or_null(app);
    bool everywhere = opt_bool(a, "all-projects");
    CLEANUP_FREE char *empty = r->scoped && project && !everywhere
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
    CLEANUP_JSON json_t *list = NULL;
    rc = list_selected(app, a, r, path, &list, err);
    return rc < 0 ? rc : show_list(app, a, r, list, err);
}

static int cmd_get(App *app, const Args *a, Err *err)
{
    const Resource *r = NULL;
    int rc = resource_need(arg_at(a, 0), &r, err);
    if (rc == 0 && opt_bool(a, "watch") && args_len(a) > 1)
        rc = err_set(err, ERR_USAGE, "watch cannot be used with a specific resource name");
    /* Before the client is made: its project narrows the server's streams, too. */
    if (rc == 0 && opt_bool(a, "watch") && (!r->scoped || opt_bool(a, "all-projects")))
        app->project = "";
    if (rc == 0)
        rc = app_client(app, err);
    if (rc < 0)
        return rc;
    if (opt_bool(a, "watch"))
        return watch_resource(app, r, a, err);
    if (opt_given(a, "project-agent") && strcmp(r->noun, "session") == 0)
        return get_agent_sessions(app, a, r, err);
    if (args_len(a) > 1) {
        CLEANUP_JSON json_t *obj = NULL;
        rc = resource_get(app, r, arg_at(a, 1), &obj, err);
        return rc < 0 ? rc : print_object(a, obj, r->noun, resource_columns(r), err);
    }
    CLEANUP_JSON json_t *list = NULL;
    rc = list_resource(app, a, r, &list, err);
    return rc < 0 ? rc : show_list(app, a, r, list, err);
}

static const Opt opts_get[] = {
    OPTS_OUTPUT,
    OPTS_NO_HEADERS,
    OPTS_LIMIT,
    OPTS_PROJECT,
    OPT("watch", BOOL, "list, then follow changes", .letter = 'w'),
    OPT("watch-timeout", DURATION, "end the watch after", .dflt = "30m"),
    OPT("watch-only", BOOL, "with -w: only changes, no list first"),
    OPT("all-projects", BOOL, "of all projects", .letter = 'A'),
    OPT("project-agent", STR, "only this agent's sessions", .values = "AGENT"),
    OPT("show-labels", BOOL, "a column with the labels"),
    OPTS_SELECT,
    OPTS_SORT,
    {0},
};

const Command commands_get[] = {
    {.words = "get",
     .usage = "RESOURCE [NAME]",
     .min = 1,
     .max = 2,
     .help = "List resources or show one",
     .opts = opts_get,
     .run = cmd_get,
     .paged = true,
     .text =
         "A watch prints the list first, then a row for each change. Sessions, projects, project settings "
         "and users are streamed by the server; other resources are listed again every polling_interval "
         "seconds and compared.",
     .examples = "get sessions\n"
                 "get session nightly -o yaml\n"
                 "# what runs now, and what changes\n"
                 "get sessions --field-selector phase=Running -w\n"
                 "get agents -w -o json\n"
                 "get agents -l team=core,tier!=1 --sort-by .created_at\n"
                 "get sessions -o jsonpath='{range .items[?(@.phase==\"Failed\")]}{.id}{\"\\n\"}{end}'\n"
                 "get agents -o custom-columns=NAME:.name,TEAM:.labels.team"},
    {0},
};
