/* Questions to the running CLI and their answers: control requests that somebody waits for. runner.md 16.3.
 */
#include "base/mem.h"
#include "claude-internal.h"

#define ASK_LIMIT (10 * USEC_PER_SEC)

typedef struct Ask {
    ListLink link;
    Loop *loop;
    char *id;
    BridgeAnswer done;
    void *arg;
    Timer *limit;
} Ask;

static void ask_end(Ask *a, const json_t *response, const char *error)
{
    BridgeAnswer done = a->done;
    void *arg = a->arg;

    list_remove(&a->link);
    timer_free(a->limit);
    free(a->id);
    free(a);
    if (done)
        done(arg, response, error);
}

static void on_limit(void *arg)
{
    ask_end(arg, NULL, "the agent did not answer");
}

bool claude_ask(Bridge *b, const char *subtype, const char *key, const char *value, BridgeAnswer done,
                void *arg)
{
    Claude *c = CONTAINER_OF(b, Claude, base);
    CLEANUP_BUF Buf line = BUF_INIT((size_t)64 << 10);

    if (!c->proc || c->stopping || c->state == CLI_STARTING)
        return false;
    Ask *a = xnew(Ask);
    a->id = xasprintf("%s_%u", subtype, ++c->requests);
    a->done = done;
    a->arg = arg;
    a->limit = timer_new(b->host.loop, on_limit, a);
    timer_arm(a->limit, ASK_LIMIT);
    list_push_back(&c->asks, &a->link);
    claude_write_request_with(&line, a->id, subtype, key, value);
    proc_write(c->proc, buf_str(&line));
    return true;
}

bool claude_on_answer(Claude *c, const ClaudeLine *l)
{
    const json_t *r = json_get_obj(l->json, "response");
    Str id = json_get_strv(r, "request_id");

    LIST_FOREACH (&c->asks, it) {
        Ask *a = LIST_ENTRY(it, Ask, link);
        if (!str_eqz(id, a->id))
            continue;
        bool good = str_eqz(json_get_strv(r, "subtype"), "success");
        const char *error = json_get_str(r, "error");
        ask_end(a, good ? json_get_obj(r, "response") : NULL,
                good    ? NULL
                : error ? error
                        : "the agent refused");
        return true;
    }
    return false;
}

void claude_forget(Bridge *b, void *arg)
{
    Claude *c = CONTAINER_OF(b, Claude, base);

    LIST_FOREACH (&c->asks, it) {
        Ask *a = LIST_ENTRY(it, Ask, link);
        if (a->arg == arg)
            a->done = NULL;
    }
}

void claude_drop_asks(Claude *c, const char *why)
{
    while (!list_empty(&c->asks))
        ask_end(LIST_ENTRY(c->asks.next, Ask, link), NULL, why);
}
