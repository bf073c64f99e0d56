/*
 * Watching an agent's inbox: first what it has not read, oldest first, then what comes. The cursor over new
 * messages is opened before the stored ones are read, so there is no window between the two; what is met
 * twice is sent once.
 */
#include "rpc-internal.h"

#include "base/mem.h"

#define PAGE 100
/* The event of a message that was created longer than this before the watch is behind the watch's cursor. */
#define EVENT_LAG_MAX ((int64_t)(60 * USEC_PER_SEC))

struct InboxWatch {
    char *agent, *project;
    ObjList page;    /* stored messages being sent */
    size_t next;     /* in page */
    bool reading;    /* a page is being read */
    bool replayed;   /* all stored ones are sent */
    bool fresh;      /* the last page had something new */
    WallUsec last;   /* created_at of the last stored one: the next page begins there */
    WallUsec recent; /* stored ones created from here on can be met again as events */
    Map *sent;       /* ids of stored ones; after the replay, of those whose event is still to come */
};

InboxWatch *inbox_watch_free(InboxWatch *w)
{
    if (!w)
        return NULL;
    free(w->agent);
    free(w->project);
    obj_list_done(&w->page);
    map_free(w->sent);
    free(w);
    return NULL;
}

static GrpcFrame *frame_of(RpcCall *c, const Obj *o)
{
    CLEANUP(pb_freep) ProtobufCMessage *msg = NULL;
    if (obj_to_pb(o, c->method->response, &msg, NULL) < 0)
        return NULL;
    return grpc_frame_pack(msg);
}

static void read_page(RpcCall *c);

/* ---- stored messages ---- */

static const Obj *next_stored(InboxWatch *w)
{
    while (w->next < w->page.len) {
        const Obj *o = w->page.ptr[w->next++];
        w->last = obj_time(o, FIELD_CREATED_AT);
        if (map_has(w->sent, obj_str(o, FIELD_ID)))
            continue;
        /* The value is a mark: &w->recent for one whose event may still come. */
        map_put(w->sent, obj_str(o, FIELD_ID), w->last.us >= w->recent.us ? (void *)&w->recent : (void *)w);
        w->fresh = true;
        return o;
    }
    return NULL;
}

static void end_replay(InboxWatch *w)
{
    w->replayed = true;
    MAP_FOREACH (w->sent, it)
        if (it.value != &w->recent)
            map_remove(w->sent, it.key);
}

static GrpcFrame *pull_stored(RpcCall *c)
{
    InboxWatch *w = c->inbox;
    if (w->reading)
        return NULL;
    const Obj *o = next_stored(w);
    if (o)
        return frame_of(c, o);
    if (w->page.len < PAGE || !w->fresh) /* the last page, or nothing in it was new */
        end_replay(w);
    else
        read_page(c);
    return NULL;
}

static void page_read(void *arg, SvcAnswer *a)
{
    RpcCall *c = arg;
    if (!call_op_answered(c, a))
        return;
    InboxWatch *w = c->inbox;
    obj_list_done(&w->page);
    for (size_t i = 0; i < a->list->len; i++) {
        w->page.ptr = xrealloc(w->page.ptr, (w->page.len + 1) * sizeof(*w->page.ptr));
        w->page.ptr[w->page.len++] = obj_dup(a->list->ptr[i]);
    }
    w->next = 0;
    w->fresh = w->reading = false;
    grpc_call_wake(c->grpc);
}

/* Pages by time and not by number: reading a message takes it out of the list while we page. */
static void read_page(RpcCall *c)
{
    InboxWatch *w = c->inbox;
    char since[RFC3339_MAX];
    CLEANUP_BUF Buf search = BUF_INIT(256);
    (void)buf_addf(&search, "(read is null or read = 'false') and created_at >= '" STR_FMT "'",
                   STR_ARG(rfc3339_format(w->last, since)));
    SvcCtx x = {.caller = c->caller};
    SvcList q = {
        .page = 1,
        .size = PAGE,
        .search = buf_str(&search),
        .order_by = STR("created_at asc"),
        .parent_id = str_from(w->agent),
        .project_of_parent = str_from(w->project),
    };
    w->reading = true;
    call_op_start(c);
    svc_list(c->rpc->service, &x, &kind_inbox_message, &q, page_read, c);
}

/* ---- new messages ---- */

/* A row can be read before the hub has heard of the commit, so a message that was sent from the store stays
   in `sent` until its event comes, however late. */
static GrpcFrame *pull_new(RpcCall *c)
{
    InboxWatch *w = c->inbox;
    EventItem it;
    while (event_cursor_next(c->events, &it)) {
        if (it.type != EVENT_CREATED || !it.obj) /* only new messages */
            continue;
        if (!map_remove(w->sent, it.id))
            return frame_of(c, it.obj);
    }
    return NULL;
}

static GrpcFrame *pull(void *user, GrpcCall *g)
{
    RpcCall *c = user;
    if (!c->inbox->replayed) {
        GrpcFrame *f = pull_stored(c);
        if (f || !c->inbox->replayed)
            return call_watch_says(c, f);
    }
    return call_watch_says(c, pull_new(c));
}

static void on_ready(void *arg)
{
    RpcCall *c = arg;
    if (c->grpc)
        grpc_call_wake(c->grpc);
}

static void on_end(void *arg, const Err *err)
{
    RpcCall *c = arg;
    if (c->grpc)
        call_fail(c, err);
}

/* ---- start ---- */

static void start(RpcCall *c, bool has_agent)
{
    static const CursorOps ops = {.on_ready = on_ready, .on_end = on_end};
    InboxWatch *w = c->inbox;
    Err err = {0};
    if (!call_watch_start(c))
        return;
    if (event_cursor_open(c->rpc->hub, &kind_inbox_message, c->caller, STR_NULL, UINT64_MAX, &ops, c,
                          &c->events, &err) < 0) {
        call_fail(c, &err);
        return;
    }
    event_cursor_only_parent(c->events, str_from(w->agent));
    w->replayed = !has_agent;
    w->sent = map_new();
    w->recent.us = clock_wall(loop_clock(c->rpc->loop)).us - EVENT_LAG_MAX;
    if (has_agent)
        read_page(c);
    grpc_call_stream(c->grpc, pull);
}

/* Its project is where its messages are listed. An agent that is not there yet has none. */
static void agent_found(void *arg, SvcAnswer *a)
{
    RpcCall *c = arg;
    if (a->err && a->err->code == ERR_NOT_FOUND) {
        SvcAnswer nothing = {0};
        if (call_op_answered(c, &nothing))
            start(c, false);
        return;
    }
    if (!call_op_answered(c, a))
        return;
    c->inbox->project = str_dup(obj_str(a->obj, AGENT_PROJECT_ID));
    start(c, true);
}

static void watch_allowed(void *arg, SvcAnswer *a)
{
    RpcCall *c = arg;
    if (!call_op_answered(c, a))
        return;
    SvcCtx x = {.caller = c->caller};
    SvcTarget t = {.kind = &kind_agent, .id = str_from(c->inbox->agent)};
    call_op_start(c);
    svc_get(c->rpc->service, &x, &t, agent_found, c);
}

void rpc_watch_inbox(void *rpc, GrpcCall *g, Str message)
{
    RpcCall *c = call_of(g);
    CLEANUP(pb_freep) ProtobufCMessage *req = call_request(c, message);
    if (!req)
        return;
    Str agent = request_str(req, "agent_id");
    if (!agent.len) {
        call_refuse(c, ERR_INVALID, "agent_id is required");
        return;
    }
    c->inbox = xnew(InboxWatch);
    c->inbox->agent = str_dup(agent);
    SvcCtx x = call_ctx(c);
    call_op_start(c);
    svc_inbox_watch_check(c->rpc->service, &x, agent, watch_allowed, c);
}
