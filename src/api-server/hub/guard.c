/*
 * Who follows a session's messages was allowed to when the stream was opened. When roles or bindings change,
 * the rights of those who follow are read again, once for each caller, and whoever has lost them is ended.
 * Changes are taken together: bindings come and go in numbers when projects and sessions do.
 */
#include "hub-internal.h"

#include "base/log.h"
#include "base/mem.h"

#define PAUSE (200 * USEC_PER_MSEC)
/* Longer than a read may take: so old can the answer be by which a stream was opened. */
#define READ_MAX (15 * USEC_PER_SEC)

/* What authorization asks of a session, without its texts. None of it ever changes but the creator's name. */
static Obj *place_of(const Obj *session)
{
    static const int fields[] = {FIELD_ID, SESSION_PROJECT_ID, SESSION_AGENT_ID, SESSION_CREATED_BY_USER_ID};
    Obj *o = obj_new(&kind_session);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        obj_copy_value(o, fields[i], session, fields[i]);
    return o;
}

static void guard_arm(Hub *h)
{
    if (!timer_armed(h->guard_timer))
        timer_arm(h->guard_timer, PAUSE);
}

void cursor_guard(Cursor *c, Caller *caller, const Obj *session)
{
    Hub *h = c->log->hub;
    if (c->caller || !svc_rights_needed(caller))
        return;
    c->caller = caller_ref(caller);
    list_push_back(&h->guarded, &c->guard);
    obj_free(c->log->place);
    c->log->place = place_of(session);
    if (h->access_changed && loop_now(h->loop) < usec_add(h->access_changed, READ_MAX))
        guard_arm(h);
}

void cursor_unguard(Cursor *c)
{
    list_remove(&c->guard);
    caller_unref(TAKE(c->caller));
}

typedef struct Look {
    Hub *hub;
    SvcRights *rights;
} Look;

static int look_job(Tx *tx, void *arg, Err *err)
{
    Look *l = arg;
    return svc_rights_read(l->rights, tx, true, err);
}

static void check(Hub *h, Cursor *c, const SvcRights *set)
{
    Rights *now;
    if (c->denied || !svc_rights_of(set, c->caller, &now) || svc_may_follow(c->caller, now, c->log->place))
        return;
    c->denied = true;
    hub_make_ready(h, &c->w);
}

static void look_done(void *arg, int rc, const Err *err)
{
    Look *l = arg;
    Hub *h = l->hub;
    h->guard_running = false;
    if (rc < 0)
        log_warn("the rights of watchers cannot be read", F_ERR(err));
    if (rc < 0 && !h->down) /* they are due still */
        guard_arm(h);
    if (rc == 0 && !h->down)
        LIST_FOREACH (&h->guarded, it)
            check(h, LIST_ENTRY(it, Cursor, guard), l->rights);
    svc_rights_free(l->rights);
    free(l);
    hub_unref(h);
}

void guard_look(void *hub)
{
    Hub *h = hub;
    if (h->down || list_empty(&h->guarded))
        return;
    if (h->guard_running) {
        timer_arm(h->guard_timer, PAUSE);
        return;
    }
    Look *l = xnew(Look);
    *l = (Look){hub_ref(h), svc_rights_new(h->service)};
    LIST_FOREACH (&h->guarded, it)
        svc_rights_want(l->rights, LIST_ENTRY(it, Cursor, guard)->caller);
    h->guard_running = true;
    if (store_submit(h->store, STORE_READ, look_job, look_done, l, NULL) == 0)
        return;
    h->guard_running = false;
    svc_rights_free(l->rights);
    free(l);
    timer_arm(h->guard_timer, PAUSE);
    hub_unref(h);
}

void guard_changed(Hub *h)
{
    h->access_changed = loop_now(h->loop);
    if (!h->down && !list_empty(&h->guarded))
        guard_arm(h);
}
