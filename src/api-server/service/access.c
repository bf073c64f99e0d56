/*
 * Who holds what: reads a caller's bindings and roles into Rights, keeps them on the loop until a role or a
 * binding changes, and turns them into answers and into conditions of lists. Each row of KindRules says where
 * an object of its kind stands; nothing here knows a kind. docs/decisions/0021-rights-are-read-and-kept.md
 */
#include "service-internal.h"

#define RIGHTS_KEPT_MAX 10000

/* ---- reading ---- */

static int role_of(Tx *tx, Rights *r, Str role_id, const RightsRole **ret, Err *err)
{
    CLEANUP(obj_freep) Obj *role = NULL;
    Err why = {0};
    *ret = rights_role(r, role_id);
    if (*ret)
        return 0;
    int rc = tx_get(tx, &kind_role, role_id, &role, &why);
    if (rc == 0)
        *ret = rights_add_role(r, role_id, obj_str(role, ROLE_NAME), obj_str(role, ROLE_PERMISSIONS));
    else if (rc == -ERR_NOT_FOUND) /* a role that was deleted grants nothing */
        return 0;
    else if (err)
        *err = why;
    return rc;
}

static const int scope_field[_GRANT_SCOPE_MAX] = {
    [GRANT_GLOBAL] = -1,
    [GRANT_PROJECT] = ROLE_BINDING_PROJECT_ID,
    [GRANT_AGENT] = ROLE_BINDING_AGENT_ID,
    [GRANT_SESSION] = ROLE_BINDING_SESSION_ID,
    [GRANT_CREDENTIAL] = ROLE_BINDING_CREDENTIAL_ID,
};

Str binding_scope_id(const Obj *b, GrantScope scope)
{
    return scope_field[scope] < 0 ? STR_NULL : obj_str(b, scope_field[scope]);
}

/* A row whose scope lacks its id is of no use, whatever else it names. */
static int add_binding(Tx *tx, Rights *r, const Obj *b, Err *err)
{
    const RightsRole *role;
    GrantScope scope = grant_scope_parse(obj_str(b, ROLE_BINDING_SCOPE));
    if (scope == _GRANT_SCOPE_INVALID)
        return 0;
    Str id = binding_scope_id(b, scope);
    if (scope != GRANT_GLOBAL && !id.len)
        return 0;
    int rc = role_of(tx, r, obj_str(b, ROLE_BINDING_ROLE_ID), &role, err);
    if (rc == 0 && role)
        rights_add(r, role, scope, id, obj_str(b, FIELD_ID));
    return rc;
}

static int add_bindings(Tx *tx, Rights *r, SearchExpr *where, Err *err)
{
    CLEANUP(search_freep) SearchExpr *mine = where;
    CLEANUP(obj_list_done) ObjList rows = {0};
    ListQuery q = {.where = mine, .limit = -1, .no_total = true};
    int rc = tx_list(tx, &kind_role_binding, &q, &rows, err);
    for (size_t i = 0; rc == 0 && i < rows.len; i++)
        rc = add_binding(tx, r, rows.ptr[i], err);
    return rc;
}

/* The static token of the platform has no name that a row could hold. It reads the tokens of credentials that
   somebody bound to be injected, and of no other. */
static int add_injected(Tx *tx, Rights *r, Err *err)
{
    CLEANUP(search_freep)
    SearchExpr *where =
        search_and(search_eq(ROLE_BINDING_SCOPE, STR("credential")), search_is_null(ROLE_BINDING_USER_ID));
    CLEANUP(obj_list_done) ObjList rows = {0};
    ListQuery q = {.where = where, .limit = -1, .no_total = true};
    int rc = tx_list(tx, &kind_role_binding, &q, &rows, err);
    const BuiltinRole *reader = builtin_role(STR("credential:token-reader"));
    const RightsRole *role =
        rights_add_role(r, STR("injected"), str_from(reader->name), str_from(reader->permissions));
    for (size_t i = 0; rc == 0 && i < rows.len; i++)
        rights_add(r, role, GRANT_CREDENTIAL, obj_str(rows.ptr[i], ROLE_BINDING_CREDENTIAL_ID),
                   obj_str(rows.ptr[i], FIELD_ID));
    return rc;
}

/* ---- sessions ---- */

static void grant(Rights *r, const char *name, const char *permissions, GrantScope scope, Str id)
{
    if (id.len)
        rights_add(r, rights_add_role(r, str_from(name), str_from(name), str_from(permissions)), scope, id,
                   STR(""));
}

/* The credentials that the control plane granted to this very session. */
static int grant_credentials(Tx *tx, Rights *r, Str session_id, Err *err)
{
    CLEANUP(search_freep)
    SearchExpr *where = search_and(search_eq(ROLE_BINDING_SCOPE, STR("credential")),
                                   search_eq(ROLE_BINDING_SESSION_ID, session_id));
    CLEANUP(obj_list_done) ObjList rows = {0};
    ListQuery q = {.where = where, .limit = -1, .no_total = true};
    int rc = tx_list(tx, &kind_role_binding, &q, &rows, err);
    for (size_t i = 0; rc == 0 && i < rows.len; i++) {
        const RightsRole *role;
        rc = role_of(tx, r, obj_str(rows.ptr[i], ROLE_BINDING_ROLE_ID), &role, err);
        if (rc == 0 && role && strcmp(rights_role_name(role), "credential:token-reader") == 0)
            grant(r, "granted", "[\"credential:read\",\"credential:fetch_token\"]", GRANT_CREDENTIAL,
                  obj_str(rows.ptr[i], ROLE_BINDING_CREDENTIAL_ID));
    }
    return rc;
}

/* What a session's token is good for: read anew at each use, as a session that ended, or was started again,
   has to lose it at once. */
static int load_session(Tx *tx, const Caller *c, Rights *r, Err *err)
{
    CLEANUP(obj_freep) Obj *s = NULL;
    Str id = str_from(c->session_id);
    Err why = {0};
    int rc = tx_get(tx, &kind_session, id, &s, &why);
    if (rc == -ERR_NOT_FOUND || (rc == 0 && !session_token_counts(s, c->run_id)))
        return err_set(err, ERR_UNAUTHENTICATED, "invalid token: this run of the session is over");
    if (rc < 0) {
        if (err)
            *err = why;
        return rc;
    }
    grant(r, "session",
          "[\"session:read\",\"session:token\",\"session_message:read\",\"session_message:create\"]",
          GRANT_SESSION, id);
    grant(r, "session's project", "[\"project:read\"]", GRANT_PROJECT, obj_str(s, SESSION_PROJECT_ID));
    grant(r, "session's agent", "[\"agent:read\"]", GRANT_AGENT, obj_str(s, SESSION_AGENT_ID));
    return grant_credentials(tx, r, id, err);
}

/* What holds everywhere first: an administrator's other bindings add nothing, and may be thousands. */
static int load_user(Tx *tx, Str username, Rights *r, Err *err)
{
    const Str global = STR("global");
    SearchExpr *first =
        search_and(search_eq(ROLE_BINDING_USER_ID, username), search_eq(ROLE_BINDING_SCOPE, global));
    int rc = add_bindings(tx, r, first, err);
    if (rc < 0 || rights_is_admin(r))
        return rc;
    SearchExpr *rest = search_eq(ROLE_BINDING_SCOPE, global);
    rest->negated = true;
    return add_bindings(tx, r, search_and(search_eq(ROLE_BINDING_USER_ID, username), rest), err);
}

int access_load(Tx *tx, const Caller *c, Rights **ret, Err *err)
{
    CLEANUP(rights_unrefp) Rights *r = rights_new();
    int rc = 0;
    if (*c->username)
        rc = load_user(tx, str_from(c->username), r, err);
    else if (c->type == CALLER_SERVICE) {
        rights_add_service(r);
        rc = add_injected(tx, r, err);
    } else if (c->type == CALLER_SESSION) {
        rc = load_session(tx, c, r, err);
    }
    if (rc == 0)
        *ret = TAKE(r);
    return rc;
}

/* ---- keeping, by the actor's name; loop thread ---- */

bool access_needed(const Caller *c)
{
    return c->type != CALLER_NONE && (!authz_is_privileged(c) || c->authz_off);
}

Rights *access_kept(Service *s, const Caller *c)
{
    if (c->type == CALLER_SESSION) /* changes with the session's phase */
        return NULL;
    Rights *r = map_get(s->rights, str_from(c->actor));
    return r ? rights_ref(r) : NULL;
}

static void forget_all(Service *s)
{
    MAP_FOREACH (s->rights, it)
        rights_unref(it.value);
    map_clear(s->rights);
}

void access_keep(Service *s, const Caller *c, Rights *r, uint64_t generation)
{
    if (generation != s->access_generation || c->type == CALLER_SESSION)
        return; /* read before a change that we know of */
    if (map_len(s->rights) >= RIGHTS_KEPT_MAX)
        forget_all(s);
    rights_unref(map_put(s->rights, str_from(c->actor), rights_ref(r)));
}

void svc_access_changed(Service *s)
{
    s->access_generation++;
    forget_all(s);
}

void access_done(Service *s)
{
    forget_all(s);
    map_free(s->rights);
}

/* ---- of one operation ---- */

/* With authorization switched off only tokens of credentials are anybody's in particular. */
static bool op_needs_rights(const Op *op)
{
    bool all = authz_is_privileged(op->caller) && op->kind && op->kind != &kind_credential &&
               op->kind != &kind_application;
    return access_needed(op->caller) && !all;
}

void op_take_rights(Op *op)
{
    op->access_generation = op->s->access_generation;
    if (!op_needs_rights(op))
        return;
    op->rights = access_kept(op->s, op->caller);
    op->rights_kept = op->rights != NULL;
}

int op_read_rights(Op *op, Tx *tx, Err *err)
{
    if (op->rights || !op_needs_rights(op))
        return 0;
    int rc = access_load(tx, op->caller, &op->rights, err);
    /* An agent's inbox goes by the agent's permission, and is not its session's to read. */
    if (rc == 0 && op->caller->type == CALLER_SESSION && op->kind == &kind_inbox_message)
        return forbidden(err);
    return rc;
}

int op_fresh_rights(Op *op, Tx *tx, Err *err)
{
    Rights *now = NULL;
    if (!op->rights_kept) /* read in this job, or not needed */
        return 0;
    int rc = access_load(tx, op->caller, &now, err);
    if (rc < 0)
        return rc;
    rights_unref(op->rights);
    op->rights = now;
    op->rights_kept = false;
    return 0;
}

void op_keep_rights(Op *op)
{
    if (op->rights && !op->rights_kept)
        access_keep(op->s, op->caller, op->rights, op->access_generation);
}

/* ---- where an object is ---- */

static Str at(const Obj *o, short field)
{
    return field ? obj_str(o, field - 1) : STR_NULL;
}

void access_scope(const AccessFields *f, const Obj *o, AuthzScope *ret)
{
    *ret = (AuthzScope){
        .project_id = at(o, f->project),
        .agent_id = at(o, f->agent),
        .session_id = at(o, f->session),
        .credential_id = at(o, f->credential),
        .owner = at(o, f->owner),
    };
}

/* ---- lists ---- */

static void or_with(SearchExpr **where, SearchExpr *more)
{
    *where = *where ? search_or(*where, more) : more;
}

static void or_ids(SearchExpr **where, const Rights *r, const char *permission, GrantScope scope, short field,
                   Str *ids)
{
    size_t n = field ? authz_ids(r, permission, scope, ids) : 0;
    if (n)
        or_with(where, search_in(field - 1, ids, n));
}

SearchExpr *access_where(const Op *op, const char *permission, const AccessFields *f)
{
    const char *also = NULL;
    SearchExpr *where = NULL;
    if (authz_everywhere(op->caller, op->rights, permission))
        return NULL;
    Str *ids = xcalloc(rights_len(op->rights) + 1, sizeof(*ids));
    or_ids(&where, op->rights, permission, GRANT_PROJECT, f->project, ids);
    or_ids(&where, op->rights, permission, GRANT_AGENT, f->agent, ids);
    or_ids(&where, op->rights, permission, GRANT_SESSION, f->session, ids);
    or_ids(&where, op->rights, permission, GRANT_CREDENTIAL, f->credential, ids);
    free(ids);
    if (f->owner && op->caller->type == CALLER_USER && *op->caller->username &&
        authz_owner_may(permission, &also) && !also)
        or_with(&where, search_eq(f->owner - 1, str_from(op->caller->username)));
    return where ? where : search_false();
}

int access_filter(Op *op, Tx *tx, SearchExpr **ret, Err *err)
{
    char name[PERMISSION_MAX];
    permission_name(op->kind, VERB_READ, name, sizeof(name));
    *ret = access_where(op, name, &op->rules->access);
    return 0;
}
