/* The prompt that an agent is started with. rest-core.md 9.2. Pure: rows in, Markdown out. */
#include "service-internal.h"

size_t prompt_inbox_fits(const ObjList *inbox)
{
    size_t bytes = 0, n = 0;
    for (; n < inbox->len; n++) {
        bytes += obj_str(inbox->ptr[n], INBOX_BODY).len + obj_str(inbox->ptr[n], INBOX_FROM_NAME).len;
        if (bytes > PROMPT_INBOX_BYTES_MAX)
            break;
    }
    return n;
}

static void section(Buf *out, const char *title, Str text)
{
    if (!text.len)
        return;
    (void)buf_addf(out, "\n## %s\n\n", title);
    (void)buf_adds(out, text);
    (void)buf_addc(out, '\n');
}

/* One cell of a table: a bar would end it, a line break the row. */
static void add_cell(Buf *out, Str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '|')
            (void)buf_addc(out, '\\');
        (void)buf_addc(out, c == '\n' || c == '\r' ? ' ' : c);
    }
    if (!text.len)
        (void)buf_addc(out, '-');
}

static void add_peers(Buf *out, const ObjList *peers, int64_t total)
{
    if (!peers->len)
        return;
    (void)buf_addz(out, "\n## Peer Agents in this Project\n\n| Agent | Description |\n| --- | --- |\n");
    for (size_t i = 0; i < peers->len; i++) {
        (void)buf_addz(out, "| ");
        add_cell(out, obj_str(peers->ptr[i], AGENT_NAME));
        (void)buf_addz(out, " | ");
        add_cell(out, obj_str(peers->ptr[i], AGENT_DESCRIPTION));
        (void)buf_addz(out, " |\n");
    }
    if (total > (int64_t)peers->len)
        (void)buf_addf(out, "\n(and %lld more)\n", (long long)(total - (int64_t)peers->len));
}

static Str sender(const Obj *m)
{
    if (obj_str(m, INBOX_FROM_NAME).len)
        return obj_str(m, INBOX_FROM_NAME);
    if (obj_str(m, INBOX_FROM_AGENT_ID).len)
        return obj_str(m, INBOX_FROM_AGENT_ID);
    return STR("system");
}

static void add_inbox(Buf *out, const ObjList *inbox)
{
    if (!inbox->len)
        return;
    (void)buf_addz(out, "\n## Inbox Messages (unread at start)\n");
    for (size_t i = 0; i < inbox->len; i++) {
        (void)buf_addz(out, "\n**From ");
        (void)buf_adds(out, sender(inbox->ptr[i]));
        (void)buf_addz(out, ":** ");
        (void)buf_adds(out, obj_str(inbox->ptr[i], INBOX_BODY));
        (void)buf_addc(out, '\n');
    }
}

bool prompt_is_command(const Obj *agent)
{
    CLEANUP_JSON json_t *env = NULL;
    return json_parse(obj_str(agent, AGENT_ENVIRONMENT_VARIABLES), &env, NULL) == 0 && json_is_object(env) &&
           str_eq(json_get_strv(env, "RUNNER_TYPE"), STR("shell"));
}

/* A shell runs its message: Markdown around it would be run too. The task of this run is the command, else
   the agent's own. */
static int build_command(const PromptInput *in, Buf *out, Err *err)
{
    (void)buf_adds(out, in->task.len ? in->task : obj_str(in->agent, AGENT_PROMPT));
    return buf_check(out, err);
}

int prompt_build(const PromptInput *in, Buf *out, Err *err)
{
    if (in->command)
        return build_command(in, out, err);
    const char *name = obj_cstr(in->agent, AGENT_NAME);
    (void)buf_addf(out, "# Agent Start: %s\n\nYou are **%s**, working in project **%s**.\n", name, name,
                   obj_cstr(in->agent, AGENT_PROJECT_ID));
    section(out, "Workspace Context", in->project ? obj_str(in->project, PROJECT_PROMPT) : STR_NULL);
    section(out, "Standing Instructions", obj_str(in->agent, AGENT_PROMPT));
    add_peers(out, in->peers, in->peers_total);
    add_inbox(out, in->inbox);
    section(out, "Task for this Run", in->task);
    return buf_check(out, err);
}
