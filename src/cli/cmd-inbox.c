#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "options.h"
#include "output.h"
#include "resource.h"

static int inbox_path(App *app, const Args *a, char **ret, Err *err)
{
    if (!opt_given(a, "pa-id"))
        return err_set(err, ERR_USAGE, "--pa-id is required");
    CLEANUP_FREE char *agent = NULL;
    int rc = resource_resolve(app, resource_find("agent"), opt_str(a, "pa-id"), &agent, NULL, err);
    if (rc == 0)
        *ret = xasprintf("%s/inbox", agent);
    return rc;
}

static int message_path(App *app, const Args *a, char **ret, Err *err)
{
    if (!opt_given(a, "msg-id"))
        return err_set(err, ERR_USAGE, "--msg-id is required");
    CLEANUP_FREE char *inbox = NULL;
    int rc = inbox_path(app, a, &inbox, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *id = path_segment(opt_str(a, "msg-id"));
    *ret = xasprintf("%s/%s", inbox, id);
    return 0;
}

static int cmd_inbox_list(App *app, const Args *a, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *list = NULL;
    int rc = inbox_path(app, a, &path, err);
    if (rc < 0)
        return rc;
    rc = app_list(app, path, opt_bool(a, "unread") ? "search=read+is+null+or+read+%3D+'false'" : NULL,
                  opt_int(a, "limit"), &list, err);
    if (rc < 0)
        return err_wrap(err, "list inbox");
    return print_list(a, list, "inbox-message",
                      "ID:id:27 FROM:from_name|from_agent_id:20 BODY:body:50 READ:read:6 AGE:created_at:10",
                      "No messages in the inbox.", err);
}

/* --body TEXT, or "-" for standard input. */
static int read_body(const char *arg, Buf *out, Err *err)
{
    if (strcmp(arg, "-") != 0)
        return buf_addz(out, arg) < 0 ? buf_check(out, err) : 0;
    char chunk[8192];
    size_t n;
    while ((n = fread(chunk, 1, sizeof(chunk), stdin)) > 0)
        buf_add(out, chunk, n);
    return buf_check(out, err);
}

static int cmd_inbox_send(App *app, const Args *a, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_BUF Buf text = BUF_INIT(1024 * 1024);
    CLEANUP_JSON json_t *body = json_object();
    CLEANUP_JSON json_t *obj = NULL;
    if (!opt_given(a, "body"))
        return err_set(err, ERR_USAGE, "--body is required");
    int rc = read_body(opt_str(a, "body"), &text, err);
    if (rc == 0)
        rc = inbox_path(app, a, &path, err);
    if (rc < 0)
        return rc;
    json_object_set_new(body, "agent_id", json_string(opt_str(a, "pa-id")));
    json_object_set_new(body, "body", json_strv(buf_str(&text)));
    body_str(body, a, "from-name", "from_name");
    body_str(body, a, "from-pa-id", "from_agent_id");
    rc = app_call(app, "POST", path, body, &obj, err);
    if (rc < 0)
        return err_wrap(err, "send to inbox");
    if (opt_given(a, "output"))
        return print_object(a, obj, "inbox-message", kind_inbox_message.columns, err);
    printf("inbox-message/%s sent\n", json_get_str(obj, "id"));
    return 0;
}

static int cmd_inbox_mark_read(App *app, const Args *a, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *body = json_pack("{s:b}", "read", 1);
    int rc = message_path(app, a, &path, err);
    if (rc == 0)
        rc = app_call(app, "PATCH", path, body, NULL, err);
    if (rc == 0)
        printf("inbox-message/%s marked as read\n", opt_str(a, "msg-id"));
    return rc;
}

static int cmd_inbox_delete(App *app, const Args *a, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    int rc = message_path(app, a, &path, err);
    if (rc == 0)
        rc = app_call(app, "DELETE", path, NULL, NULL, err);
    if (rc == 0)
        printf("inbox-message/%s deleted\n", opt_str(a, "msg-id"));
    return rc;
}

#define INBOX                                                                                                \
    OPTS_PROJECT, OPT("pa-id", STR, "agent, by name or id", .values = "AGENT"), OPT_ALIAS("agent", "pa-id")

static const Opt opts_list[] = {
    OPTS_OUTPUT, OPTS_NO_HEADERS, OPTS_LIMIT, INBOX, OPT("unread", BOOL, "only unread ones"), {0}};
static const Opt opts_send[] = {
    OPTS_OUTPUT,
    INBOX,
    OPT("body", STR, "text, or - for standard input"),
    OPT("from-name", STR, "sender's name"),
    OPT("from-pa-id", STR, "sending agent", .values = "AGENT"),
    {0},
};
static const Opt opts_one[] = {INBOX, OPT("msg-id", STR, "message"), {0}};

const Command commands_inbox[] = {
    {.words = "inbox", .usage = "", .help = "Messages for agents"},
    {.words = "inbox list",
     .aliases = "ls",
     .usage = "",
     .help = "List an agent's messages",
     .opts = opts_list,
     .run = cmd_inbox_list,
     .examples = "inbox list --agent reviewer --unread"},
    {.words = "inbox send",
     .usage = "",
     .help = "Send a message to an agent",
     .opts = opts_send,
     .run = cmd_inbox_send,
     .examples = "inbox send --agent reviewer --body \"look at change 12\" --from-name lead"},
    {.words = "inbox mark-read",
     .usage = "",
     .help = "Mark a message as read",
     .opts = opts_one,
     .run = cmd_inbox_mark_read,
     .examples = "inbox mark-read --agent reviewer --msg-id ID"},
    {.words = "inbox delete",
     .usage = "",
     .help = "Delete a message",
     .opts = opts_one,
     .run = cmd_inbox_delete,
     .examples = "inbox delete --agent reviewer --msg-id ID"},
    {0},
};
