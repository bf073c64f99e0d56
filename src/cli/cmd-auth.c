/* auth: what may I do, and what may somebody else do. */
#include "cmd.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "options.h"
#include "output.h"
#include "resource.h"
#include "role.h"

/* ---- one question ---- */

/* kubectl's words for ours. */
static const char *verb_of(const char *word)
{
    static const char *const same[][2] = {
        {"get", "read"}, {"describe", "read"}, {"edit", "update"}, {"patch", "update"}, {"apply", "update"}};
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        if (strcmp(word, same[i][0]) == 0)
            return same[i][1];
    }
    return word;
}

/* "role-bindings" is "role_binding"; what no table knows is asked for as it is. */
static char *resource_of(const char *word)
{
    const Resource *r = resource_find(word);
    char *name = xstrdup(r ? r->kind->permission : word);
    for (char *p = name; *p; p++)
        *p = *p == '-' ? '_' : (char)tolower((unsigned char)*p);
    return name;
}

static const char *const places[][2] = {
    {"agent", "agent_id"}, {"session", "session_id"}, {"credential", "credential_id"}};

static int add_place(App *app, const char *noun, const char *name, json_t *body, Err *err)
{
    CLEANUP_FREE char *id = NULL;
    CLEANUP_FREE char *member = xasprintf("%s_id", noun);
    int rc = object_id(app, noun, name, &id, err);
    if (rc == 0)
        json_object_set_new(body, member, json_string(id));
    return rc;
}

/* Where it shall be done: by options, or the object that the third word names. */
static int add_places(App *app, const Args *a, json_t *body, Err *err)
{
    const char *project = app_project_or_null(app), *name = arg_at(a, 2);
    int rc = 0;
    if (project && !opt_bool(a, "all-projects"))
        json_object_set_new(body, "project_id", json_string(project));
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(places); i++) {
        if (opt_given(a, places[i][0]))
            rc = add_place(app, places[i][0], opt_str(a, places[i][0]), body, err);
    }
    if (rc < 0 || !name)
        return rc;
    const Resource *r = resource_find(arg_at(a, 1));
    if (r && r->kind == &kind_project)
        return json_object_set_new(body, "project_id", json_string(name));
    for (size_t i = 0; r && i < ARRAY_LEN(places); i++) {
        if (strcmp(r->noun, places[i][0]) == 0)
            return add_place(app, r->noun, name, body, err);
    }
    return err_set(err, ERR_USAGE,
                   "no single %s can be asked about; use --project, --agent, --session or --credential",
                   arg_at(a, 1));
}

static void explain(const json_t *answer)
{
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    Str role = json_get_strv(answer, "role"), reason = json_get_strv(answer, "reason");
    buf_addf(&b, STR_FMT ": ", STR_ARG(json_get_strv(answer, "permission")));
    clean_text(&b, reason, false);
    if (role.len)
        buf_addf(&b, " (role " STR_FMT ", scope " STR_FMT ")", STR_ARG(role),
                 STR_ARG(json_get_strv(answer, "scope")));
    printf(STR_FMT "\n", STR_ARG(buf_str(&b)));
}

static int can_i(App *app, const Args *a, Err *err)
{
    Format f = FORMAT_TABLE;
    CLEANUP_FREE char *resource = resource_of(arg_at(a, 1));
    CLEANUP_JSON json_t *body = json_pack("{s:s, s:s}", "verb", verb_of(arg_at(a, 0)), "resource", resource);
    CLEANUP_JSON json_t *answer = NULL;
    body_str(body, a, "user", "user");
    int rc = format_of(a, &f, err);
    if (rc == 0)
        rc = add_places(app, a, body, err);
    if (rc == 0)
        rc = app_call(app, "POST", "/access_reviews", body, &answer, err);
    if (rc < 0)
        return rc;
    bool yes = json_get_bool(answer, "allowed", false);
    if (f == FORMAT_JSON)
        print_json(answer);
    else if (!opt_bool(a, "quiet"))
        puts(yes ? "yes" : "no");
    if (f != FORMAT_JSON && opt_bool(a, "explain"))
        explain(answer);
    app->exit_code = yes ? 0 : 1;
    return 0;
}

/* ---- everything ---- */

static void add_row(json_t *items, json_t *role, const json_t *scope, const char *target, json_t *permissions)
{
    CLEANUP_BUF Buf all = BUF_INIT((size_t)64 * 1024);
    for (size_t i = 0; i < json_array_size(permissions); i++)
        buf_addf(&all, "%s%s", i ? ", " : "", json_string_value(json_array_get(permissions, i)));
    json_t *row = json_object();
    json_object_set(row, "role", role);
    json_object_set(row, "scope", (json_t *)(uintptr_t)scope);
    json_object_set_new(row, "scope_id", json_string(target ? target : ""));
    json_object_set(row, "permissions", permissions);
    json_object_set_new(row, "all", json_strv(buf_str(&all)));
    json_array_append_new(items, row);
}

static int own_access(App *app, json_t *items, char **ret_user, Err *err)
{
    CLEANUP_JSON json_t *answer = NULL;
    int rc = app_get(app, &answer, err, "/access_reviews/self");
    if (rc < 0)
        return rc;
    const json_t *held = json_get_arr(answer, "items");
    for (size_t i = 0; i < json_array_size(held); i++) {
        const json_t *g = json_array_get(held, i);
        add_row(items, json_object_get(g, "role"), json_object_get(g, "scope"), json_get_str(g, "scope_id"),
                json_get_arr(g, "permissions"));
    }
    if (json_get_bool(answer, "admin", false) && !json_array_size(held)) {
        CLEANUP_JSON json_t *all = json_pack("[s]", "*:*"), *role = json_string("(the platform's token)");
        CLEANUP_JSON json_t *scope = json_string("global");
        add_row(items, role, scope, NULL, all);
    }
    *ret_user = str_dup(json_get_strv(answer, "username"));
    return 0;
}

static const char *target_of(const json_t *binding)
{
    Str scope = json_get_strv(binding, "scope");
    CLEANUP_FREE char *member = xasprintf(STR_FMT "_id", STR_ARG(scope));
    return json_get_str(binding, member);
}

static int access_of(App *app, const char *user, json_t *items, Err *err)
{
    CLEANUP_JSON json_t *bindings = NULL;
    CLEANUP_JSON json_t *roles = NULL;
    CLEANUP_FREE char *query = search_member("user_id", user);
    int rc = app_list(app, "/role_bindings", query, 0, &bindings, err);
    if (rc == 0)
        rc = app_list(app, "/roles", NULL, 0, &roles, err);
    const json_t *list = json_get_arr(bindings, "items"), *all = json_get_arr(roles, "items");
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        const json_t *b = json_array_get(list, i), *role = NULL;
        CLEANUP_JSON json_t *permissions = NULL;
        for (size_t k = 0; !role && k < json_array_size(all); k++) {
            if (str_eq(json_get_strv(json_array_get(all, k), "id"), json_get_strv(b, "role_id")))
                role = json_array_get(all, k);
        }
        (void)json_parse(json_get_strv(role, "permissions"), &permissions, NULL);
        add_row(items, json_object_get(role, "name"), json_object_get(b, "scope"), target_of(b), permissions);
    }
    return rc;
}

static int list_access(App *app, const Args *a, const char *user, Err *err)
{
    Format f = FORMAT_TABLE;
    CLEANUP_JSON json_t *items = json_array();
    CLEANUP_FREE char *name = user ? xstrdup(user) : NULL;
    int rc = format_of(a, &f, err);
    if (rc == 0)
        rc = user ? access_of(app, user, items, err) : own_access(app, items, &name, err);
    if (rc < 0)
        return err_wrap(err, "access of %s", user ? user : "the caller");
    if (f != FORMAT_TABLE && f != FORMAT_WIDE) {
        for (size_t i = 0; i < json_array_size(items); i++)
            json_object_del(json_array_get(items, i), "all");
    }
    CLEANUP_JSON json_t *list = json_pack("{s:s, s:s, s:O}", "kind", "Access", "user", name, "items", items);
    CLEANUP_FREE char *empty = xasprintf("%s holds no role.", *name ? name : "This token");
    return print_list(a, list, "access", "ROLE:role:26 SCOPE:scope:10 TARGET:scope_id:27 PERMISSIONS:all:60",
                      empty, err);
}

static int cmd_can_i(App *app, const Args *a, Err *err)
{
    if (opt_bool(a, "list"))
        return list_access(app, a, opt_str(a, "user"), err);
    if (args_len(a) < 2)
        return err_set(err, ERR_USAGE,
                       "a verb and a resource are needed, or --list: acpctl auth can-i create sessions");
    return can_i(app, a, err);
}

static int cmd_access(App *app, const Args *a, Err *err)
{
    return list_access(app, a, arg_at(a, 0), err);
}

static const Opt opts_can_i[] = {
    OPT("list", BOOL, "everything that is held, and where"),
    OPTS_PROJECT,
    OPT("all-projects", BOOL, "ask for everywhere, not for the current project"),
    OPT("agent", STR, "on this agent, by name or id", .values = "AGENT"),
    OPT("session", STR, "on this session, by name or id", .values = "SESSION"),
    OPT("credential", STR, "on this credential, by name or id", .values = "CREDENTIAL"),
    OPT("user", STR, "ask for this user (administrators only)"),
    OPT("explain", BOOL, "also say why"),
    OPT("quiet", BOOL, "only the exit status", .letter = 'q'),
    OPTS_OUTPUT,
    OPTS_NO_HEADERS,
    {0},
};
static const Opt opts_access[] = {OPTS_OUTPUT, OPTS_NO_HEADERS, {0}};

const Command commands_auth[] = {
    {.words = "auth", .usage = "", .help = "What you and others may do"},
    {.words = "auth can-i",
     .usage = "[VERB RESOURCE [NAME]]",
     .max = 3,
     .help = "Ask whether something is allowed",
     .opts = opts_can_i,
     .run = cmd_can_i,
     .text = "Verbs are create, read, update, delete, list, start, stop and fetch_token; kubectl's get, edit "
             "and patch\n"
             "are understood. The question is about the current project unless another place is named.",
     .examples = "auth can-i create sessions\n"
                 "auth can-i delete agent reviewer --explain\n"
                 "auth can-i fetch_token credential github-bot --user bob\n"
                 "auth can-i --list",
     .exits = "0 yes\n1 no, or an error"},
    {.words = "auth access",
     .usage = "[USER]",
     .max = 1,
     .help = "List the roles of a user, where they hold and what they allow",
     .opts = opts_access,
     .run = cmd_access,
     .text = "Of another user only the bindings are seen that the caller may see.",
     .examples = "auth access\nauth access bob -o json"},
    {0},
};
