/* Users: rows for people who call, made when they first do. rest-core.md 6. */
#include "service-internal.h"

#define KNOWN_USERS_MAX 10000

/* All that the row is made from. */
static char *identity_key(const Caller *c)
{
    return xasprintf("%s\n%s\n%s\n%s\n%s", c->username, c->issuer, c->subject, c->name, c->email);
}

bool user_is_known(const Service *s, const Caller *c)
{
    CLEANUP_FREE char *key = identity_key(c);
    return map_has(s->known_users, str_from(key));
}

void users_forget(Service *s)
{
    map_clear(s->known_users);
}

/* Forgetting only costs a look-up, so a full cache starts afresh. */
void user_remember(Service *s, const Caller *c)
{
    CLEANUP_FREE char *key = identity_key(c);
    if (map_len(s->known_users) >= KNOWN_USERS_MAX)
        users_forget(s);
    map_put(s->known_users, str_from(key), s);
}

/* ---- who is who ---- */

static int find(Tx *tx, SearchExpr *where, Obj **ret, Err *err)
{
    return find_first(tx, &kind_user, where, (OrderItem){FIELD_CREATED_AT, false}, ret, err);
}

static bool has_identity(const Caller *c)
{
    return *c->subject != '\0';
}

static bool is_identity(const Obj *row, const Caller *c)
{
    return str_eqz(obj_str(row, USER_SUBJECT), c->subject) && str_eqz(obj_str(row, USER_ISSUER), c->issuer);
}

/*
 * Usernames change hands; an issuer's subject does not. The row of the identity wins, then a row of that name
 * that no identity has taken yet: whoever first comes with the name of an account that was made by hand, or
 * before identities were written down, is that account. A name that belongs to another identity is refused;
 * only our own accounts take theirs back, which no issuer's person can have any more.
 */
static int find_row(Tx *tx, const Caller *c, Obj **ret, Err *err)
{
    CLEANUP(obj_freep) Obj *by_name = NULL;
    CLEANUP(obj_freep) Obj *by_identity = NULL;
    int rc = find(tx, search_eq(USER_USERNAME, str_from(c->username)), &by_name, err);
    if (rc == 0 && has_identity(c))
        rc = find(tx,
                  search_and(search_eq(USER_SUBJECT, str_from(c->subject)),
                             search_eq(USER_ISSUER, str_from(c->issuer))),
                  &by_identity, err);
    if (rc < 0)
        return rc;
    bool own = strcmp(c->issuer, AUTH_ISSUER_OWN) == 0;
    bool taken = by_name && obj_str(by_name, USER_SUBJECT).len && !is_identity(by_name, c) && !own;
    bool two = by_name && by_identity && !str_eq(obj_str(by_name, FIELD_ID), obj_str(by_identity, FIELD_ID));
    if (taken || two)
        return err_set(err, ERR_FORBIDDEN, "the username \"%s\" belongs to another account", c->username);
    *ret = by_identity ? TAKE(by_identity) : TAKE(by_name);
    return 0;
}

static void want(const Obj *row, Obj *changes, int field, const char *text, bool *any)
{
    if (!*text || (row && str_eqz(obj_str(row, field), text)))
        return;
    obj_set_str(changes, field, str_from(text));
    *any = true;
}

/* What the row must become. */
static bool wanted(const Obj *row, const Caller *c, Obj *changes)
{
    bool any = !row;
    want(row, changes, USER_USERNAME, c->username, &any);
    want(row, changes, USER_NAME, c->name, &any);
    want(row, changes, USER_EMAIL, c->email, &any);
    if (has_identity(c)) {
        want(row, changes, USER_ISSUER, c->issuer, &any);
        want(row, changes, USER_SUBJECT, c->subject, &any);
    }
    return any;
}

int user_identify(Tx *tx, const Caller *c, bool *ret_write, Err *err)
{
    CLEANUP(obj_freep) Obj *row = NULL;
    CLEANUP(obj_freep) Obj *changes = obj_new(&kind_user);
    int rc = find_row(tx, c, &row, err);
    if (rc == 0)
        *ret_write = wanted(row, c, changes);
    return rc;
}

/* ---- renaming ---- */

static int rename_in(Tx *tx, const Kind *k, int field, Str from, Str to, Err *err)
{
    CLEANUP(obj_list_done) ObjList rows = {0};
    CLEANUP(search_freep) SearchExpr *where = search_eq(field, from);
    CLEANUP(obj_freep) Obj *changes = obj_new(k);
    obj_set_str(changes, field, to);
    int rc = tx_list(tx, k, &(ListQuery){.where = where, .limit = -1, .no_total = true}, &rows, err);
    for (size_t i = 0; rc == 0 && i < rows.len; i++) {
        bool changed;
        rc = tx_update(tx, k, obj_str(rows.ptr[i], FIELD_ID), changes, &changed, NULL, err);
    }
    return rc;
}

/* Everything that names people by their username, but bindings. */
static int rename_traces(Tx *tx, Str from, Str to, Err *err)
{
    static const struct {
        const Kind *kind;
        int field;
    } names[] = {
        {&kind_project, PROJECT_OWNER},
        {&kind_agent, AGENT_OWNER_USER_ID},
        {&kind_session, SESSION_CREATED_BY_USER_ID},
        {&kind_session, SESSION_ASSIGNED_USER_ID},
        {&kind_scheduled_session, SCHEDULE_CREATED_BY_USER_ID},
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(names); i++)
        rc = rename_in(tx, names[i].kind, names[i].field, from, to, err);
    return rc;
}

static int rename_user(Tx *tx, Str from, Str to, Err *err)
{
    int rc = rename_in(tx, &kind_role_binding, ROLE_BINDING_USER_ID, from, to, err);
    return rc < 0 ? rc : rename_traces(tx, from, to, err);
}

int user_provision(Tx *tx, const Caller *c, Err *err)
{
    CLEANUP(obj_freep) Obj *row = NULL;
    CLEANUP(obj_freep) Obj *changes = obj_new(&kind_user);
    bool changed;
    int rc = find_row(tx, c, &row, err);
    if (rc < 0 || !wanted(row, c, changes))
        return rc;
    if (row) {
        rc = tx_update(tx, &kind_user, obj_str(row, FIELD_ID), changes, &changed, NULL, err);
        if (rc == 0 && obj_has(changes, USER_USERNAME))
            rc = rename_user(tx, obj_str(row, USER_USERNAME), str_from(c->username), err);
        return rc;
    }
    if (!obj_has(changes, USER_NAME))
        obj_set_str(changes, USER_NAME, str_from(c->username));
    rc = obj_finish_create(changes, err);
    return rc < 0 ? rc : tx_insert(tx, changes, err);
}

/* ---- the kind ---- */

/* Nobody owns a row before it is there: making users is for administrators. */
static int user_create_scope(Op *op, Tx *tx, const Obj *o, Scope *ret, Err *err)
{
    return 0;
}

static int has_bindings(Tx *tx, Str username, bool *ret, Err *err)
{
    CLEANUP(obj_freep) Obj *b = NULL;
    int rc = find_first(tx, &kind_role_binding, search_eq(ROLE_BINDING_USER_ID, username),
                        (OrderItem){FIELD_CREATED_AT, false}, &b, err);
    *ret = b != NULL;
    return rc;
}

/* Rights are kept by username: whoever could change it would take over another's. Administrators change one
   that holds none. */
static int user_before_patch(Op *op, Tx *tx, const Obj *now, Obj *changes, Err *err)
{
    Str from = obj_str(now, USER_USERNAME), to = obj_str(changes, USER_USERNAME);
    bool bound;
    if (changes->v[USER_USERNAME].state == V_ABSENT || str_eq(from, to))
        return 0;
    if (!authz_is_privileged(op->caller) && !rights_is_admin(op->rights))
        return err_set(err, ERR_FORBIDDEN, "username is immutable");
    int rc = has_bindings(tx, from, &bound, err);
    if (rc == 0 && bound)
        return err_set(err, ERR_CONFLICT, "username cannot be changed: role bindings name it");
    return rc < 0 ? rc : rename_traces(tx, from, to, err);
}

/* A later person of that name has made nothing yet. No token can hold a name with a colon. */
static int user_before_delete(Op *op, Tx *tx, const Obj *now, Err *err)
{
    CLEANUP_FREE char *gone = xasprintf("deleted:%s", obj_cstr(now, USER_USERNAME));
    return rename_traces(tx, obj_str(now, USER_USERNAME), str_from(gone), err);
}

/* The next request of that user makes the row again. */
static void user_deleted(Op *op)
{
    if (op->obj)
        users_forget(op->s);
}

const KindRules rules_user = {
    .kind = &kind_user,
    .delete_unknown_ok = true,
    .access = {.owner = AT(USER_USERNAME)},
    .create_scope = user_create_scope,
    .before_patch = user_before_patch,
    .before_delete = user_before_delete,
    .deleted = user_deleted,
};
