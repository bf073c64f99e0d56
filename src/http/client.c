/*
 * curl's multi interface on the loop: curl says which sockets and which time it waits for, we tell it when
 * they are there. curl forbids adding and removing transfers inside its callbacks, so both are done apart
 * from them: new calls are started by a post, ended ones are freed at the end of the turn.
 */
#include "http/client.h"

#include <assert.h>
#include "base/mem.h"
#include "client-internal.h"

/* Idle connections kept for reuse. */
#define POOL_MAX 64L

typedef struct SocketWatch {
    HttpClient *client;
    curl_socket_t fd;
    FdWatch *watch;
} SocketWatch;

static void finish_ended(HttpClient *c)
{
    int left;
    for (CURLMsg *m; !c->freed && (m = curl_multi_info_read(c->multi, &left));) {
        HttpCall *call = NULL;
        CURLcode result = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        if (m->msg == CURLMSG_DONE && call && !call->cancelled)
            call_finish(call, result);
    }
}

static void drive(HttpClient *c, curl_socket_t fd, int events)
{
    int running;
    if (c->freed)
        return;
    curl_multi_socket_action(c->multi, fd, events, &running);
    finish_ended(c);
}

static void socket_ready(void *arg, unsigned ready)
{
    SocketWatch *w = arg;
    int events = (ready & FD_READ ? CURL_CSELECT_IN : 0) | (ready & FD_WRITE ? CURL_CSELECT_OUT : 0);
    drive(w->client, w->fd, events); /* may free w */
}

static void forget_socket(HttpClient *c, SocketWatch *w)
{
    fd_watch_free(w->watch);
    loop_defer(c->loop, free, w);
}

static int socket_cb(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    HttpClient *c = arg;
    SocketWatch *w = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (w)
            forget_socket(c, w);
        return 0;
    }
    unsigned events = (what & CURL_POLL_IN ? FD_READ : 0U) | (what & CURL_POLL_OUT ? FD_WRITE : 0U);
    if (w) {
        fd_watch_set(w->watch, events);
        return 0;
    }
    w = xnew(SocketWatch);
    *w = (SocketWatch){.client = c, .fd = fd};
    w->watch = fd_watch_new(c->loop, fd, events, socket_ready, w);
    assert(w->watch); /* a socket can be watched */
    curl_multi_assign(c->multi, fd, w);
    return 0;
}

static void timer_due(void *arg)
{
    drive(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int timer_cb(CURLM *multi, long ms, void *arg)
{
    HttpClient *c = arg;
    if (ms < 0)
        timer_cancel(c->timer);
    else
        timer_arm(c->timer, (Usec)ms * USEC_PER_MSEC);
    return 0;
}

static void multi_options(HttpClient *c)
{
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, socket_cb);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, timer_cb);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, POOL_MAX);
}

static char *dup_or_null(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

int http_client_new(Loop *l, const HttpClientOptions *o, HttpClient **ret, Err *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(err, ERR_INTERNAL, "http: cannot initialise curl");
    CURLM *multi = curl_multi_init();
    if (!multi) {
        curl_global_cleanup();
        return err_set(err, ERR_INTERNAL, "http: no memory for the client");
    }
    HttpClient *c = xnew(HttpClient);
    c->loop = l;
    c->multi = multi;
    list_init(&c->waiting);
    list_init(&c->starting);
    list_init(&c->running);
    c->timer = timer_new(l, timer_due, c);
    c->ca_file = dup_or_null(o->ca_file);
    c->user_agent = dup_or_null(o->user_agent);
    c->unix_socket = dup_or_null(o->unix_socket);
    c->ca_pem = dup_or_null(o->ca_pem);
    c->proxy = dup_or_null(o->proxy);
    c->connect_to = o->connect_to ? curl_slist_append(NULL, o->connect_to) : NULL;
    c->insecure = o->insecure_skip_verify;
    multi_options(c);
    *ret = c;
    return 0;
}

/* At the end of the turn, outside curl's callbacks. Cancelled calls were deferred before this and are gone.
 */
static void client_release(void *arg)
{
    HttpClient *c = arg;
    assert(list_empty(&c->waiting) && list_empty(&c->starting) && list_empty(&c->running));
    curl_multi_cleanup(c->multi);
    timer_free(c->timer);
    free(c->ca_file);
    free(c->user_agent);
    free(c->unix_socket);
    free(c->ca_pem);
    free(c->proxy);
    curl_slist_free_all(c->connect_to);
    free(c);
    curl_global_cleanup();
}

HttpClient *http_client_free(HttpClient *c)
{
    if (!c || c->freed)
        return NULL;
    c->freed = true;
    List *const lists[] = {&c->waiting, &c->starting, &c->running};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        LIST_FOREACH_SAFE (lists[i], link)
            http_cancel(LIST_ENTRY(link, HttpCall, link));
    if (!c->kick_posted)
        loop_defer(c->loop, client_release, c);
    return NULL;
}

static void start(HttpClient *c, HttpCall *call)
{
    list_remove(&call->link);
    list_push_back(&c->running, &call->link);
    if (call->err.code) {
        call_finish(call, CURLE_OK);
        return;
    }
    CURLMcode rc = curl_multi_add_handle(c->multi, call->easy);
    call->added = rc == CURLM_OK;
    if (!call->added) {
        err_set(&call->err, ERR_INTERNAL, "http: %s", curl_multi_strerror(rc));
        call_finish(call, CURLE_OK);
    }
}

static void kicked(void *arg)
{
    HttpClient *c = arg;
    c->kick_posted = false;
    if (c->freed) {
        loop_defer(c->loop, client_release, c);
        return;
    }
    /* What callbacks send meanwhile is started by a post of its own. */
    for (ListLink *link; (link = list_pop_front(&c->waiting));)
        list_push_back(&c->starting, link);
    while (!list_empty(&c->starting) && !c->freed)
        start(c, LIST_ENTRY(c->starting.next, HttpCall, link));
    if (!c->freed)
        LIST_FOREACH (&c->running, link)
            call_resume(LIST_ENTRY(link, HttpCall, link));
}

void client_kick(HttpClient *c)
{
    if (!c->kick_posted)
        loop_post(c->loop, kicked, c);
    c->kick_posted = true;
}

HttpCall *http_send(HttpClient *c, const HttpRequest *req, HttpDone done, void *arg)
{
    assert(!c->freed);
    HttpCall *call = call_new(c, req, done, arg);
    list_push_back(&c->waiting, &call->link);
    client_kick(c);
    return call;
}
