/* credential: tokens for other services, and who may use them. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "noun.h"
#include "options.h"
#include "output.h"
#include "role.h"
#include "secret-input.h"

static const Member members[] = {
    {"name", "name", MEMBER_STR},
    {"provider", "provider", MEMBER_STR},
    {"description", "description", MEMBER_STR},
    {"url", "url", MEMBER_STR},
    {"email", "email", MEMBER_STR},
    {"labels", "labels", MEMBER_STR},
    {"annotations", "annotations", MEMBER_STR},
    {0},
};

static const Resource *credentials(void)
{
    return resource_find("credential");
}

static int cmd_list(App *app, const Args *a, Err *err)
{
    const char *provider = opt_str(a, "provider");
    CLEANUP_FREE char *query = provider ? search_member("provider", provider) : NULL;
    return noun_list(app, a, "credential", query, err);
}

static int cmd_get(App *app, const Args *a, Err *err)
{
    return noun_get(app, a, "credential", err);
}

/* prompt NULL: only when an option gives one. */
static int add_token(const Args *a, const char *prompt, json_t *body, Err *err)
{
    const SecretInput in = {.opt = "token", .what = "token", .env = NULL, .prompt = prompt, .whole = true};
    CLEANUP(secret_freep) Secret *token = NULL;
    int rc = secret_input(a, &in, &token, err);
    if (rc == 0 && token)
        body_secret(body, "token", token);
    return rc;
}

static int cmd_create(App *app, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *body = json_object();
    noun_members(a, members, body);
    int rc = noun_need(a, "name", err);
    if (rc == 0)
        rc = noun_need(a, "provider", err);
    if (rc == 0)
        rc = add_token(a, NULL, body, err);
    if (rc == 0)
        rc = noun_create(app, a, "credential", body, err);
    body_wipe(body, "token");
    return rc;
}

static int cmd_update(App *app, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *body = json_object();
    noun_members(a, members, body);
    int rc = add_token(a, NULL, body, err);
    if (rc == 0)
        rc = noun_update(app, a, "credential", body, err);
    body_wipe(body, "token");
    return rc;
}

static int cmd_delete(App *app, const Args *a, Err *err)
{
    return noun_delete(app, a, "credential", err);
}

/* Sessions that run go on with the token they have; the next run gets the new one. */
static int cmd_rotate(App *app, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *body = json_object();
    CLEANUP_JSON json_t *obj = NULL;
    CLEANUP_FREE char *path = NULL;
    int rc = resource_resolve(app, credentials(), arg_at(a, 0), &path, NULL, err);
    if (rc == 0)
        rc = add_token(a, "New token", body, err);
    if (rc == 0)
        rc = app_call(app, "PATCH", path, body, &obj, err);
    body_wipe(body, "token");
    if (rc < 0)
        return err_wrap(err, "rotate credential \"%s\"", arg_at(a, 0));
    printf("credential/%s rotated\n", json_get_str(obj, "name"));
    return 0;
}

/* ---- reading a token ---- */

static int cmd_token(App *app, const Args *a, Err *err)
{
    Format f = FORMAT_TABLE;
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *answer = NULL;
    int rc = format_of(a, &f, err);
    if (rc == 0 && stdout_is_terminal() && !opt_bool(a, "yes"))
        rc = err_set(err, ERR_USAGE, "the token would be shown on this terminal; use --yes, or a pipe");
    if (rc == 0)
        rc = resource_resolve(app, credentials(), arg_at(a, 0), &path, NULL, err);
    if (rc < 0)
        return rc;
    rc = app_get(app, &answer, err, "%s/token", path);
    if (rc < 0)
        return err_wrap(err, "token of credential \"%s\"", arg_at(a, 0));
    if (stdout_is_terminal())
        fputs("Notice: a secret follows; the server has noted who read it\n", stderr);
    if (f == FORMAT_JSON)
        rc = print_json(answer);
    else
        puts(json_get_str(answer, "token") ? json_get_str(answer, "token") : "");
    body_wipe(answer, "token");
    return rc;
}

/* ---- binding: sessions of a project, or of one agent, get the token ---- */

typedef struct Place {
    const char *project;
    char *credential, *agent; /* ids; agent NULL = all of the project */
    char *text;               /* "project/p" or "agent/a in project/p" */
} Place;

static void place_done(Place *p)
{
    free(p->credential);
    free(p->agent);
    free(p->text);
}

static int find_place(App *app, const Args *a, Place *p, Err *err)
{
    const char *agent = opt_str(a, "agent");
    int rc = app_project(app, &p->project, err);
    if (rc == 0)
        rc = object_id(app, "credential", arg_at(a, 0), &p->credential, err);
    if (rc == 0 && agent)
        rc = object_id(app, "agent", agent, &p->agent, err);
    if (rc == 0)
        p->text = agent ? xasprintf("agent/%s in project/%s", agent, p->project)
                        : xasprintf("project/%s", p->project);
    return rc;
}

static int cmd_bind(App *app, const Args *a, Err *err)
{
    CLEANUP(place_done) Place p = {0};
    CLEANUP_FREE char *role = NULL;
    CLEANUP_JSON json_t *made = NULL;
    int rc = find_place(app, a, &p, err);
    if (rc == 0)
        rc = role_id(app, opt_str(a, "role"), &role, err);
    if (rc < 0)
        return rc;
    CLEANUP_JSON json_t *body = json_pack("{s:s, s:s, s:s, s:s}", "credential_id", p.credential, "project_id",
                                          p.project, "role_id", role, "scope", "credential");
    if (p.agent)
        json_object_set_new(body, "agent_id", json_string(p.agent));
    rc = app_call(app, "POST", "/role_bindings", body, &made, err);
    if (rc < 0 && rc != -ERR_CONFLICT) /* it is bound already: what was asked for is there */
        return err_wrap(err, "bind credential \"%s\"", arg_at(a, 0));
    printf("credential/%s bound to %s\n", arg_at(a, 0), p.text);
    return 0;
}

/* Grants to sessions have no user; those of people stay. */
static bool is_grant_of(const json_t *binding, const Place *p)
{
    const char *agent = json_get_str(binding, "agent_id");
    return !json_get_strv(binding, "user_id").len && !json_get_strv(binding, "session_id").len &&
           str_eqz(str_from(agent), p->agent) && str_eqz(json_get_strv(binding, "project_id"), p->project);
}

static int cmd_unbind(App *app, const Args *a, Err *err)
{
    CLEANUP(place_done) Place p = {0};
    CLEANUP_JSON json_t *list = NULL;
    size_t gone = 0;
    int rc = find_place(app, a, &p, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *query = search_member("credential_id", p.credential);
    rc = app_list(app, "/role_bindings", query, 0, &list, err);
    const json_t *items = json_get_arr(list, "items");
    for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
        const json_t *b = json_array_get(items, i);
        if (!is_grant_of(b, &p))
            continue;
        CLEANUP_FREE char *path = xasprintf("/role_bindings/%s", json_get_str(b, "id"));
        rc = app_call(app, "DELETE", path, NULL, NULL, err);
        gone += rc == 0;
    }
    if (rc < 0)
        return err_wrap(err, "unbind credential \"%s\"", arg_at(a, 0));
    if (!gone)
        return err_set(err, ERR_NOT_FOUND, "credential \"%s\" is not bound to %s", arg_at(a, 0), p.text);
    printf("credential/%s unbound from %s\n", arg_at(a, 0), p.text);
    return 0;
}

#define OPTS_TOKEN                                                                                           \
    OPT("token-file", STR, "file with the token; - is standard input", .values = "FILE"),                    \
        OPT("token", STR, "-: token from standard input. A token itself would be seen by others here")
#define OPTS_MEMBERS                                                                                         \
    OPT("description", STR, "what it is for"), OPT("url", STR, "where the provider is"),                     \
        OPT("email", STR, "account at the provider"), OPT("labels", STR, "labels as JSON"),                  \
        OPT("annotations", STR, "annotations as JSON")
#define PROVIDERS "github gitlab jira google vertex kubeconfig"

static const Opt opts_list[] = {OPTS_OUTPUT,
                                OPTS_NO_HEADERS,
                                OPTS_LIMIT,
                                OPT("provider", STR, "only of this provider", .values = PROVIDERS),
                                {0}};
static const Opt opts_get[] = {OPTS_OUTPUT, OPTS_NO_HEADERS, {0}};
static const Opt opts_create[] = {
    OPTS_OUTPUT,
    OPT("name", STR, "name"),
    OPT("provider", STR, "who takes the token, e.g. github", .values = PROVIDERS),
    OPTS_TOKEN,
    OPTS_MEMBERS,
    {0},
};
static const Opt opts_update[] = {OPTS_OUTPUT, OPT("name", STR, "new name"), OPTS_TOKEN, OPTS_MEMBERS, {0}};
static const Opt opts_rotate[] = {OPTS_TOKEN, {0}};
static const Opt opts_delete[] = {OPTS_YES, {0}};
static const Opt opts_token[] = {
    OPT("output", STR, "output format: json", .letter = 'o', .values = "json"),
    OPT("yes", BOOL, "also on a terminal", .letter = 'y'),
    {0},
};
static const Opt opts_bind[] = {
    OPTS_PROJECT,
    OPT("agent", STR, "only for sessions of this agent", .values = "AGENT"),
    OPT("role", STR, "role that the binding names", .dflt = "credential:viewer", .values = "ROLE"),
    {0},
};
static const Opt opts_unbind[] = {
    OPTS_PROJECT,
    OPT("agent", STR, "the binding to this agent", .values = "AGENT"),
    {0},
};

const Command commands_credential[] = {
    {.words = "credential", .usage = "", .help = "Tokens for other services", .aliases = "credentials"},
    {.words = "credential list",
     .aliases = "ls",
     .usage = "",
     .help = "List credentials",
     .opts = opts_list,
     .run = cmd_list,
     .examples = "credential list --provider github"},
    {.words = "credential get",
     .usage = "CREDENTIAL",
     .min = 1,
     .max = 1,
     .help = "Show a credential, without its token",
     .opts = opts_get,
     .run = cmd_get,
     .examples = "credential get github-bot -o yaml"},
    {.words = "credential create",
     .usage = "",
     .help = "Create a credential",
     .opts = opts_create,
     .run = cmd_create,
     .examples = "credential create --name github-bot --provider github --token-file token\n"
                 "# from a password manager\n"
                 "credential create --name github-bot --provider github --token -"},
    {.words = "credential update",
     .usage = "CREDENTIAL",
     .min = 1,
     .max = 1,
     .help = "Change a credential",
     .opts = opts_update,
     .run = cmd_update,
     .examples = "credential update github-bot --description \"pull requests\""},
    {.words = "credential rotate",
     .usage = "CREDENTIAL",
     .min = 1,
     .max = 1,
     .help = "Replace a credential's token",
     .opts = opts_rotate,
     .run = cmd_rotate,
     .text = "Without an option the new token is asked for and not shown. Each run of a session fetches the "
             "token anew, so that the next one has it.",
     .examples = "credential rotate github-bot --token-file new-token"},
    {.words = "credential delete",
     .usage = "CREDENTIAL",
     .min = 1,
     .max = 1,
     .help = "Delete a credential",
     .opts = opts_delete,
     .run = cmd_delete,
     .examples = "credential delete github-bot --confirm"},
    {.words = "credential token",
     .usage = "CREDENTIAL",
     .min = 1,
     .max = 1,
     .help = "Print a credential's token",
     .opts = opts_token,
     .run = cmd_token,
     .text = "The server keeps a record of every read.",
     .examples = "credential token github-bot | gh auth login --with-token"},
    {.words = "credential bind",
     .usage = "CREDENTIAL",
     .min = 1,
     .max = 1,
     .help = "Give a project's sessions the token",
     .opts = opts_bind,
     .run = cmd_bind,
     .examples = "credential bind github-bot --project demo\n"
                 "credential bind github-bot --project demo --agent reviewer"},
    {.words = "credential unbind",
     .usage = "CREDENTIAL",
     .min = 1,
     .max = 1,
     .help = "Take it away again",
     .opts = opts_unbind,
     .run = cmd_unbind,
     .examples = "credential unbind github-bot --project demo"},
    {0},
};
