/* What callers see on kind watches: their rights come from a set that is filled beside each page of events.
 */
#include "service-internal.h"

typedef struct Held {
    Caller *caller;
    Rights *rights;
    bool kept; /* known before the job */
} Held;

struct SvcRights {
    Service *service;
    uint64_t generation;
    Map *by_actor; /* actor -> Held */
};

SvcRights *svc_rights_new(Service *s)
{
    SvcRights *set = xnew(SvcRights);
    *set = (SvcRights){service_ref(s), s->access_generation, map_new()};
    return set;
}

bool svc_rights_needed(const Caller *c)
{
    return access_needed(c) && !authz_is_privileged(c) &&
           c->type != CALLER_SESSION; /* those go by their session */
}

void svc_rights_want(SvcRights *set, Caller *c)
{
    Str actor = str_from(c->actor);
    if (!svc_rights_needed(c) || map_has(set->by_actor, actor))
        return;
    Held *h = xnew(Held);
    h->caller = caller_ref(c);
    h->rights = access_kept(set->service, c);
    h->kept = h->rights != NULL;
    map_put(set->by_actor, actor, h);
}

int svc_rights_read(SvcRights *set, Tx *tx, bool afresh, Err *err)
{
    MAP_FOREACH (set->by_actor, it) {
        Held *h = it.value;
        Rights *now = NULL;
        if (h->kept && !afresh)
            continue;
        int rc = access_load(tx, h->caller, &now, err);
        if (rc < 0)
            return rc;
        rights_unref(h->rights);
        h->rights = now;
        h->kept = false;
    }
    return 0;
}

bool svc_rights_of(const SvcRights *set, const Caller *c, Rights **ret)
{
    Held *h = map_get(set->by_actor, str_from(c->actor));
    *ret = h ? h->rights : NULL;
    return h || !svc_rights_needed(c);
}

SvcRights *svc_rights_free(SvcRights *set)
{
    if (!set)
        return NULL;
    MAP_FOREACH (set->by_actor, it) {
        Held *h = it.value;
        if (h->rights && !h->kept)
            access_keep(set->service, h->caller, h->rights, set->generation);
        rights_unref(h->rights);
        caller_unref(h->caller);
        free(h);
    }
    map_free(set->by_actor);
    service_unref(set->service);
    free(set);
    return NULL;
}

void svc_note_event(Service *s, const Kind *k, int type)
{
    if (k == &kind_role || k == &kind_role_binding)
        svc_access_changed(s);
    if (k == &kind_user && type != EVENT_CREATED)
        users_forget(s);
}

bool svc_may_follow(const Caller *c, const Rights *rights, const Obj *session)
{
    AuthzScope z;
    access_scope(&rules_session.access, session, &z);
    return authz_allows(c, rights, "session_message:read", &z);
}

bool svc_is_of_run(const Caller *c, const Obj *session)
{
    return session_token_counts(session, c->run_id);
}

bool svc_is_access_kind(const Kind *k)
{
    return k == &kind_role || k == &kind_role_binding;
}

/* ---- one event ---- */

/* The log knows of a deleted object its id, its project and who owned it. */
static void scope_of_event(const AccessFields *f, const SvcEvent *ev, AuthzScope *ret)
{
    const short self = AT(FIELD_ID);
    *ret = (AuthzScope){
        .project_id = f->project == self ? ev->id
                      : f->project       ? ev->project_id
                                         : STR_NULL,
        .agent_id = f->agent == self ? ev->id : STR_NULL,
        .session_id = f->session == self ? ev->id : STR_NULL,
        .credential_id = f->credential == self ? ev->id : STR_NULL,
    };
}

/* Who made an object may hear that it is gone, though his rights went with it. */
static bool was_own(const Caller *c, const SvcEvent *ev)
{
    return !ev->obj && ev->owner.len && str_eqz(ev->owner, c->username);
}

bool svc_visible(const Caller *c, const Rights *rights, const SvcEvent *ev)
{
    char name[PERMISSION_MAX];
    AuthzScope z;
    const KindRules *r = rules_of(ev->kind);
    if (!r)
        return false;
    permission_name(ev->kind, VERB_READ, name, sizeof(name));
    if (ev->obj)
        access_scope(&r->access, ev->obj, &z);
    else
        scope_of_event(&r->access, ev, &z);
    return authz_allows(c, rights, name, &z) || was_own(c, ev);
}

/* ---- opening a watch ---- */

/* Who may read nothing may watch: the stream is silent until a binding changes that. People are not followed
   by people. */
static int run_kind_watch(Op *op, Tx *tx, Err *err)
{
    if (op->caller->type == CALLER_SESSION) /* its rights end with its session: nobody would end the watch */
        return err_set(err, ERR_FORBIDDEN, "not for the token of a session");
    if (op->kind != &kind_user || authz_everywhere(op->caller, op->rights, "user:read"))
        return 0;
    return err_set(err, ERR_FORBIDDEN, "user watch requires admin privileges");
}

void svc_kind_watch_check(Service *s, const SvcCtx *x, const Kind *k, SvcDone done, void *arg)
{
    Op *op = op_new(s, x, STORE_READ, run_kind_watch, done, arg);
    op->kind = k;
    op->rules = rules_of(k);
    op_submit(op);
}
