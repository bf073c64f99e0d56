/* Users: rows for people who call, made when they first do. rest-core.md 6. */
#include "service-internal.h"

#define KNOWN_USERS_MAX 10000

bool user_is_known(const Service *s, const Caller *c)
{
    return map_has(s->known_users, str_from(c->username));
}

/* Forgetting only costs a look-up, so a full cache starts afresh. */
void user_remember(Service *s, const Caller *c)
{
    if (map_len(s->known_users) >= KNOWN_USERS_MAX)
        map_clear(s->known_users);
    map_put(s->known_users, str_from(c->username), s);
}

int user_provision(Tx *tx, const Caller *c, Err *err)
{
    CLEANUP(obj_freep) Obj *o = NULL;
    Err why = {0};
    Str username = str_from(c->username);
    int rc = tx_find(tx, &kind_user, USER_USERNAME, username, &o, &why);
    if (rc == 0)
        return 0;
    if (rc != -ERR_NOT_FOUND) {
        if (err)
            *err = why;
        return rc;
    }
    o = obj_new(&kind_user);
    obj_set_str(o, USER_USERNAME, username);
    obj_set_str(o, USER_NAME, c->name && *c->name ? str_from(c->name) : username);
    if (c->email && *c->email)
        obj_set_str(o, USER_EMAIL, str_from(c->email));
    rc = obj_finish_create(o, err);
    return rc < 0 ? rc : tx_insert(tx, o, err);
}

static int user_scope(Op *op, Tx *tx, const Obj *o, Scope *ret, Err *err)
{
    ret->z.object_owner = obj_str(o, USER_USERNAME);
    return 0;
}

/* Nobody owns a row before it is there: making users is for administrators. */
static int user_create_scope(Op *op, Tx *tx, const Obj *o, Scope *ret, Err *err)
{
    return 0;
}

/* Rights are kept by username: whoever could change it would take over another's. */
static int user_before_patch(Op *op, Tx *tx, const Obj *now, Obj *changes, Err *err)
{
    bool changes_it =
        changes->v[USER_USERNAME].state != V_ABSENT && !obj_value_equal(now, changes, USER_USERNAME);
    if (changes_it && op->caller->type != CALLER_ADMIN)
        return err_set(err, ERR_FORBIDDEN, "username is immutable");
    return 0;
}

static int user_filter(Op *op, Tx *tx, SearchExpr **ret, Err *err)
{
    if (!authz_is_privileged(op->caller))
        *ret = search_eq(USER_USERNAME, str_from(op->caller->username));
    return 0;
}

/* The next request of that user makes the row again. */
static void user_deleted(Op *op)
{
    if (op->obj)
        map_remove(op->s->known_users, obj_str(op->obj, USER_USERNAME));
}

const KindRules rules_user = {
    .kind = &kind_user,
    .delete_unknown_ok = true,
    .scope = user_scope,
    .create_scope = user_create_scope,
    .before_patch = user_before_patch,
    .filter = user_filter,
    .deleted = user_deleted,
};
