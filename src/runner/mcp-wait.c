#include "mcp-wait.h"

#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"
#include "http/url.h"
#include "json/json.h"
#include "loop/conn.h"

#define PATIENCE (60 * USEC_PER_SEC)
#define TRY_AGAIN USEC_PER_SEC

struct McpWait {
    Loop *loop;
    void (*done)(void *arg);
    void *arg;
    VEC_OF(char *)
    addresses; /* that did not answer yet; the last one is tried */
    Conn *conn;
    Timer *timer;
    Usec until;
    bool over, told;
};

static void try_last(void *arg);

static void end(McpWait *w)
{
    w->over = true;
    timer_cancel(w->timer);
    w->done(w->arg);
}

static void on_ready(void *arg)
{
    McpWait *w = arg;

    w->conn = conn_free(w->conn);
    free(vec_pop(&w->addresses));
    if (w->addresses.len > 0)
        timer_arm(w->timer, 0);
    else
        end(w);
}

static void on_end(void *arg, ConnEnd how, const char *why)
{
    McpWait *w = arg;

    w->conn = conn_free(w->conn);
    if (loop_now(w->loop) < w->until) {
        if (!w->told)
            log_info("waiting for an MCP server beside us",
                     F_STR("address", w->addresses.ptr[w->addresses.len - 1]));
        w->told = true;
        timer_arm(w->timer, TRY_AGAIN);
        return;
    }
    log_warn("an MCP server beside us does not answer, the agent starts without it",
             F_STR("address", w->addresses.ptr[w->addresses.len - 1]), F_STR("why", why));
    free(vec_pop(&w->addresses));
    if (w->addresses.len > 0)
        timer_arm(w->timer, 0); /* once each, then */
    else
        end(w);
}

static size_t on_read(void *arg, Str bytes)
{
    return bytes.len;
}

static void try_last(void *arg)
{
    static const ConnOps ops = {.on_read = on_read, .on_end = on_end, .on_ready = on_ready};
    McpWait *w = arg;
    Err err = {0};
    const char *address = w->addresses.ptr[w->addresses.len - 1];

    if (conn_connect(w->loop, address, NULL, &ops, w, &w->conn, &err) < 0) {
        w->conn = NULL;
        on_end(w, CONN_ERROR, err.msg);
    }
}

static void add_address(McpWait *w, const char *url)
{
    Url u;

    if (url_parse(str_from(url), &u, NULL) < 0)
        return; /* the agent will say so */
    Str port = u.port.len > 0 ? u.port : STR("80");
    vec_push(&w->addresses, xasprintf(STR_FMT ":" STR_FMT, STR_ARG(u.host), STR_ARG(port)));
}

McpWait *mcp_wait_new(Loop *l, const RunnerConfig *c, void (*done)(void *arg), void *arg)
{
    CLEANUP_JSON json_t *urls = NULL;
    const char *provider, *text = c->credential_mcp_urls;
    json_t *url;

    if (!text || !*text || json_parse(str_from(text), &urls, NULL) < 0)
        return NULL;
    McpWait *w = xnew(McpWait);
    w->loop = l;
    w->done = done;
    w->arg = arg;
    json_object_foreach(urls, provider, url)
    {
        if (json_is_string(url))
            add_address(w, json_string_value(url));
    }
    w->until = usec_add(loop_now(l), PATIENCE);
    w->timer = timer_new(l, try_last, w);
    if (w->addresses.len > 0)
        timer_arm(w->timer, 0);
    else
        w->over = true;
    return w;
}

McpWait *mcp_wait_free(McpWait *w)
{
    if (!w)
        return NULL;
    conn_free(w->conn);
    timer_free(w->timer);
    VEC_FOREACH (&w->addresses, a)
        free(*a);
    vec_free(&w->addresses);
    free(w);
    return NULL;
}

bool mcp_wait_over(const McpWait *w)
{
    return !w || w->over;
}
