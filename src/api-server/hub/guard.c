/*
 * Who follows a session's messages was allowed to when the stream was opened. When roles or bindings change,
 * the rights of those who follow are read again, once for each caller, and whoever has lost them is ended.
 * The runner of a session goes by the session, which is read again when it changes; so does who made it, when
 * a user was renamed or deleted. Changes are taken together: bindings come and go in numbers when projects
 * and sessions do.
 */
#include "hub-internal.h"

#include "base/log.h"
#include "base/mem.h"

#define PAUSE (200 * USEC_PER_MSEC)
/* Longer than a read may take: so old can the answer be by which a stream was opened. */
#define READ_MAX (15 * USEC_PER_SEC)

/* What authorization asks of a session, without its texts. None of it ever changes but the creator's name:
   see guard_users_changed(). */
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

static void rights_changed(Hub *h)
{
    h->rights_due = true;
    guard_arm(h);
}

static void session_changed(SessionLog *l)
{
    l->changed = true;
    guard_arm(l->hub);
}

void cursor_guard(Cursor *c, Caller *caller, const Obj *session)
{
    SessionLog *l = c->log;
    Hub *h = l->hub;
    bool of_session = caller->type == CALLER_SESSION;
    if (c->caller || (!of_session && !svc_rights_needed(caller)))
        return;
    c->caller = caller_ref(caller);
    list_push_back(&h->guarded, &c->guard);
    obj_free(l->place);
    l->place = place_of(session);
    l->runners += of_session;
    /* What was asked when it was opened may be of the past by now. */
    bool lately = h->access_changed && loop_now(h->loop) < usec_add(h->access_changed, READ_MAX);
    if (of_session || lately)
        session_changed(l);
    if (!of_session && lately)
        rights_changed(h);
}

void cursor_unguard(Cursor *c)
{
    if (!c->caller)
        return;
    c->log->runners -= c->caller->type == CALLER_SESSION;
    list_remove(&c->guard);
    caller_unref(TAKE(c->caller));
}

typedef struct Look {
    Hub *hub;
    SvcRights *rights;
    bool of_users;
    VEC_OF(char *)
    changed;       /* ids of sessions */
    Map *sessions; /* id -> Obj, of those that are still there */
} Look;

static Look *look_new(Hub *h)
{
    Look *l = xcalloc(1, sizeof(*l));
    l->hub = hub_ref(h);
    l->rights = svc_rights_new(h->service);
    l->sessions = map_new();
    l->of_users = h->rights_due;
    h->rights_due = false;
    LIST_FOREACH (&h->guarded, it) {
        Cursor *c = LIST_ENTRY(it, Cursor, guard);
        if (l->of_users)
            svc_rights_want(l->rights, c->caller);
        if (c->log->changed)
            vec_push(&l->changed, str_dup(c->log->id));
        c->log->changed = false;
    }
    return l;
}

static void look_free(Look *l)
{
    MAP_FOREACH (l->sessions, it)
        obj_free(it.value);
    map_free(l->sessions);
    VEC_FOREACH (&l->changed, id)
        free(*id);
    vec_free(&l->changed);
    svc_rights_free(l->rights);
    hub_unref(l->hub);
    free(l);
}

static int look_job(Tx *tx, void *arg, Err *err)
{
    Look *l = arg;
    VEC_FOREACH (&l->changed, id) {
        Obj *session = NULL;
        Err why = {0};
        int rc = tx_get(tx, &kind_session, str_from(*id), &session, &why);
        if (rc < 0 && rc != -ERR_NOT_FOUND) {
            if (err)
                *err = why;
            return rc;
        }
        if (rc == 0)
            obj_free(map_put(l->sessions, str_from(*id), session));
    }
    return svc_rights_read(l->rights, tx, true, err);
}

static bool may_follow(const Look *l, const Cursor *c)
{
    Rights *now;
    if (c->caller->type != CALLER_SESSION)
        return !l->of_users || !svc_rights_of(l->rights, c->caller, &now) ||
               svc_may_follow(c->caller, now, c->log->place);
    const Obj *session = map_get(l->sessions, c->log->id);
    return !session || svc_is_of_run(c->caller, session);
}

/* They are due still. */
static void look_again(const Look *l)
{
    Hub *h = l->hub;
    h->rights_due = h->rights_due || l->of_users;
    VEC_FOREACH (&l->changed, id) {
        SessionLog *log = map_get(h->logs, str_from(*id));
        if (log)
            log->changed = true;
    }
    guard_arm(h);
}

static void take_places(const Look *l)
{
    MAP_FOREACH (l->sessions, it) {
        SessionLog *log = map_get(l->hub->logs, it.key);
        if (log && log->place) {
            obj_free(log->place);
            log->place = place_of(it.value);
        }
    }
}

static void end_others(const Look *l)
{
    Hub *h = l->hub;
    take_places(l);
    LIST_FOREACH (&h->guarded, it) {
        Cursor *c = LIST_ENTRY(it, Cursor, guard);
        if (c->denied || may_follow(l, c))
            continue;
        c->denied = true;
        hub_make_ready(h, &c->w);
    }
}

static void look_done(void *arg, int rc, const Err *err)
{
    Look *l = arg;
    Hub *h = l->hub;
    h->guard_running = false;
    if (rc < 0)
        log_warn("the rights of watchers cannot be read", F_ERR(err));
    if (!h->down && rc < 0)
        look_again(l);
    else if (!h->down)
        end_others(l);
    look_free(l);
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
    Look *l = look_new(h);
    h->guard_running = true;
    if (store_submit(h->store, STORE_READ, look_job, look_done, l, NULL) == 0)
        return;
    h->guard_running = false;
    look_again(l);
    look_free(l);
}

void guard_changed(Hub *h)
{
    h->access_changed = loop_now(h->loop);
    if (!h->down && !list_empty(&h->guarded))
        rights_changed(h);
}

/* The sessions that they made name them by their username, or do not any more. */
void guard_users_changed(Hub *h)
{
    LIST_FOREACH (&h->guarded, it)
        LIST_ENTRY(it, Cursor, guard)->log->changed = true;
    guard_changed(h);
}

void guard_session_changed(Hub *h, Str session_id)
{
    SessionLog *l = map_get(h->logs, session_id);
    if (!h->down && l && l->runners)
        session_changed(l);
}
