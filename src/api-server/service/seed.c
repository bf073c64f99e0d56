/*
 * What every store holds before anything is served: the built-in roles, and the platform's own account.
 * Written at each start, and only where something differs: a second replica, or a second start, writes
 * nothing.
 */
#include "service-internal.h"

/* ---- roles ---- */

static void fill_role(const BuiltinRole *b, Obj *o)
{
    obj_set_str(o, ROLE_DISPLAY_NAME, str_from(b->display_name));
    obj_set_str(o, ROLE_DESCRIPTION, str_from(b->description));
    obj_set_str(o, ROLE_PERMISSIONS, str_from(b->permissions));
    obj_set_bool(o, ROLE_BUILT_IN, true);
}

static int insert_role(Tx *tx, const BuiltinRole *b, Err *err)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_role);
    obj_set_str(o, ROLE_NAME, str_from(b->name));
    fill_role(b, o);
    return tx_insert(tx, o, err);
}

static int seed_role(Tx *tx, const BuiltinRole *b, Err *err)
{
    CLEANUP(obj_freep) Obj *now = NULL;
    CLEANUP(obj_freep) Obj *want = obj_new(&kind_role);
    Err why = {0};
    bool changed;
    int rc = tx_find(tx, &kind_role, ROLE_NAME, str_from(b->name), &now, &why);
    if (rc == -ERR_NOT_FOUND)
        return insert_role(tx, b, err);
    fill_role(b, want);
    if (rc == 0)
        rc = tx_update(tx, &kind_role, obj_str(now, FIELD_ID), want, &changed, NULL, &why);
    if (rc < 0 && err)
        *err = why;
    return rc;
}

int seed_roles(Tx *tx, Err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n_builtin_roles; i++)
        rc = seed_role(tx, &builtin_roles[i], err);
    return rc;
}

/* ---- administrators ---- */

static int find_admin_binding(Tx *tx, Str role_id, Str username, Obj **ret, Err *err)
{
    SearchExpr *where = search_and(
        search_eq(ROLE_BINDING_ROLE_ID, role_id),
        search_and(search_eq(ROLE_BINDING_SCOPE, STR("global")), search_eq(ROLE_BINDING_USER_ID, username)));
    return find_first(tx, &kind_role_binding, where, (OrderItem){FIELD_CREATED_AT, false}, ret, err);
}

static void fill_user(Str username, bool own, Obj *o)
{
    if (!own)
        return;
    obj_set_str(o, USER_ISSUER, STR(AUTH_ISSUER_OWN));
    obj_set_str(o, USER_SUBJECT, username);
}

/* The row of an account of our own carries that identity: nobody else becomes it by choosing its name. */
static int ensure_user(Tx *tx, Str username, bool own, char **ret_id, Err *err)
{
    CLEANUP(obj_freep) Obj *o = NULL;
    CLEANUP(obj_freep) Obj *want = obj_new(&kind_user);
    Err why = {0};
    bool changed;
    fill_user(username, own, want);
    int rc = tx_find(tx, &kind_user, USER_USERNAME, username, &o, &why);
    if (rc == -ERR_NOT_FOUND) {
        obj_set_str(want, USER_USERNAME, username);
        obj_set_str(want, USER_NAME, username);
        rc = tx_insert(tx, want, &why);
    } else if (rc == 0 && own) {
        rc = tx_update(tx, &kind_user, obj_str(o, FIELD_ID), want, &changed, NULL, &why);
    }
    if (rc == 0)
        *ret_id = str_dup(obj_str(o ? o : want, FIELD_ID));
    else if (err)
        *err = why;
    return rc;
}

int seed_admin(Tx *tx, Str username, bool own, char **ret_user, bool *ret_made, Err *err)
{
    CLEANUP(obj_freep) Obj *role = NULL;
    CLEANUP(obj_freep) Obj *b = NULL;
    CLEANUP_FREE char *user = NULL;
    int rc = ensure_user(tx, username, own, &user, err);
    if (rc == 0)
        rc = tx_find(tx, &kind_role, ROLE_NAME, STR("platform:admin"), &role, err);
    if (rc == 0)
        rc = find_admin_binding(tx, obj_str(role, FIELD_ID), username, &b, err);
    if (rc < 0)
        return rc;
    *ret_made = !b;
    if (!b) {
        b = obj_new(&kind_role_binding);
        obj_set_str(b, ROLE_BINDING_ROLE_ID, obj_str(role, FIELD_ID));
        obj_set_str(b, ROLE_BINDING_SCOPE, STR("global"));
        obj_set_str(b, ROLE_BINDING_USER_ID, username);
        rc = tx_insert(tx, b, err);
    }
    if (rc == 0)
        *ret_user = TAKE(user);
    return rc;
}

/* ---- the command ---- */

typedef struct SeedAdmin {
    Service *s;
    char *username, *user_id;
    bool made;
    void (*done)(void *arg, const char *user_id, bool made, const Err *err);
    void *arg;
    Err err;
} SeedAdmin;

static int seed_admin_job(Tx *tx, void *arg, Err *err)
{
    SeedAdmin *a = arg;
    free(TAKE(a->user_id));
    int rc = seed_roles(tx, err);
    return rc < 0 ? rc : seed_admin(tx, str_from(a->username), false, &a->user_id, &a->made, err);
}

static void seed_admin_finished(void *arg, int rc, const Err *err)
{
    SeedAdmin *a = arg;
    a->done(a->arg, a->user_id, a->made, rc < 0 ? err : NULL);
    free(a->user_id);
    free(a->username);
    service_unref(a->s);
    free(a);
}

static void seed_admin_refused(void *arg)
{
    SeedAdmin *a = arg;
    seed_admin_finished(a, -(int)a->err.code, &a->err);
}

void service_seed_admin(Service *s, const char *username,
                        void (*done)(void *arg, const char *user_id, bool made, const Err *err), void *arg)
{
    SeedAdmin *a = xnew(SeedAdmin);
    *a = (SeedAdmin){.s = service_ref(s), .username = xstrdup(username), .done = done, .arg = arg};
    if (store_submit(s->store, STORE_WRITE, seed_admin_job, seed_admin_finished, a, &a->err) < 0)
        loop_post(s->loop, seed_admin_refused, a);
}
