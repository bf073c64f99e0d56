/*
 * Applications: what GitOps is told to keep in step. rest-governance-and-auth.md 6.1, D53, D71. The engine
 * that syncs is not there yet, and sync and refresh say so.
 */
#include "service-internal.h"

#define NO_ENGINE "this server has no sync engine: nothing was fetched, compared or applied"

/* ---- what ordinary users may say ---- */

/* An empty value is what a typed client sends for none. */
static bool says(const Obj *o, int field)
{
    return obj_has(o, field) && (!field_is_text(&o->kind->fields[field]) || obj_str(o, field).len);
}

static int refuse_status(const Op *op, Obj *o, Err *err)
{
    for (int i = APPLICATION_SYNC_STATUS; i <= APPLICATION_LAST_SYNCED_AT; i++) {
        if (authz_everywhere(op->caller, op->rights, "application:status"))
            return 0;
        if (says(o, i))
            return err_set(err, ERR_FORBIDDEN, "%s is written by the sync engine only",
                           o->kind->fields[i].json);
        obj_clear(o, i);
    }
    return 0;
}

static int check_values(const Obj *o, Err *err)
{
    if (obj_int(o, APPLICATION_RETRY_LIMIT, 0) < 0)
        return err_set(err, ERR_INVALID, "retry_limit must not be negative");
    if (!path_id_ok(obj_str(o, APPLICATION_DESTINATION_PROJECT)) &&
        obj_has(o, APPLICATION_DESTINATION_PROJECT))
        return err_set(err, ERR_INVALID, "destination_project must be the name of a project");
    if (obj_str(o, APPLICATION_DESTINATION_AMBIENT_URL).len && !obj_str(o, APPLICATION_CREDENTIAL_ID).len)
        return err_set(err, ERR_INVALID, "credential_id is required with destination_ambient_url");
    return 0;
}

/* The engine will use it for whoever named it. One text for a foreign one and for none. */
static int check_credential(Op *op, Tx *tx, Str id, Err *err)
{
    CLEANUP(obj_freep) Obj *credential = NULL;
    const Scope sc = {.z = {.credential_id = id}};
    if (!id.len)
        return 0;
    Err why = {0};
    int rc = tx_get(tx, &kind_credential, id, &credential, &why);
    if (rc == -ERR_NOT_FOUND || (rc == 0 && !op_may(op, &kind_credential, VERB_FETCH_TOKEN, &sc)))
        return err_set(err, ERR_FORBIDDEN, "credential_id: you may not use such a credential");
    if (rc < 0 && err)
        *err = why;
    return rc;
}

static int application_before_create(Op *op, Tx *tx, Obj *o, Err *err)
{
    int rc = refuse_status(op, o, err);
    return rc < 0 ? rc : check_values(o, err);
}

/* Behind the check of rights in the destination. */
static int application_after_create(Op *op, Tx *tx, const Obj *o, Err *err)
{
    return check_credential(op, tx, obj_str(o, APPLICATION_CREDENTIAL_ID), err);
}

/* ---- sync and refresh ---- */

static void fill_sync(Tx *tx, Obj *changes)
{
    obj_set_str(changes, APPLICATION_OPERATION_PHASE, STR("Failed"));
    obj_set_str(changes, APPLICATION_OPERATION_MESSAGE, STR(NO_ENGINE));
}

static void fill_refresh(Tx *tx, Obj *changes)
{
    char now[RFC3339_MAX];
    CLEANUP_FREE char *conditions =
        xasprintf("[{\"type\":\"RefreshError\",\"message\":\"%s\",\"lastTransitionTime\":\"%s\"}]", NO_ENGINE,
                  rfc3339_format(tx_now(tx), now).ptr);
    obj_set_str(changes, APPLICATION_SYNC_STATUS, STR("Unknown"));
    obj_set_str(changes, APPLICATION_CONDITIONS, str_from(conditions));
}

/* A client of the reference asks for a sync or a refresh by a PATCH of one status field. */
static bool is_only(const Obj *changes, int field, const char *value)
{
    for (int i = FIELD_FIRST; i < (int)changes->kind->n_fields; i++)
        if (i != field && changes->v[i].state != V_ABSENT)
            return false;
    return str_eqz(obj_str(changes, field), value);
}

/* Into another project only by whoever may make one there. */
static int may_move(const Op *op, const Obj *now, const Obj *changes, Err *err)
{
    const Scope there = {.z = {.project_id = obj_str(changes, APPLICATION_DESTINATION_PROJECT)}};
    if (!obj_has(changes, APPLICATION_DESTINATION_PROJECT) ||
        obj_value_equal(now, changes, APPLICATION_DESTINATION_PROJECT))
        return 0;
    return op_may(op, &kind_application, VERB_CREATE, &there) ? 0 : forbidden(err);
}

static int application_before_patch(Op *op, Tx *tx, const Obj *now, Obj *changes, Err *err)
{
    CLEANUP(obj_freep) Obj *after = obj_dup(now);
    if (is_only(changes, APPLICATION_OPERATION_PHASE, "Running")) {
        fill_sync(tx, changes);
        return 0;
    }
    if (is_only(changes, APPLICATION_SYNC_STATUS, "Unknown")) {
        fill_refresh(tx, changes);
        return 0;
    }
    int rc = refuse_status(op, changes, err);
    (void)obj_apply(after, changes);
    if (rc == 0)
        rc = check_values(after, err);
    if (rc == 0 && obj_has(changes, APPLICATION_CREDENTIAL_ID))
        rc = check_credential(op, tx, obj_str(changes, APPLICATION_CREDENTIAL_ID), err);
    return rc == 0 ? may_move(op, now, changes, err) : rc;
}

const KindRules rules_application = {
    .kind = &kind_application,
    .delete_unknown_ok = true,
    .access = {.project = AT(APPLICATION_DESTINATION_PROJECT)},
    .before_create = application_before_create,
    .after_create = application_after_create,
    .before_patch = application_before_patch,
};

static int run_change(Op *op, Tx *tx, void (*fill)(Tx *tx, Obj *changes), Err *err)
{
    CLEANUP(obj_freep) Obj *now = NULL;
    CLEANUP(obj_freep) Obj *changes = obj_new(&kind_application);
    int rc = op_load(op, tx, VERB_UPDATE, &now, err);
    if (rc < 0)
        return rc;
    fill(tx, changes);
    return tx_update(tx, &kind_application, op->id, changes, NULL, &op->obj, err);
}

static int run_sync(Op *op, Tx *tx, Err *err)
{
    return run_change(op, tx, fill_sync, err);
}

static int run_refresh(Op *op, Tx *tx, Err *err)
{
    return run_change(op, tx, fill_refresh, err);
}

void svc_application_sync(Service *s, const SvcCtx *x, Str id, SvcDone done, void *arg)
{
    SvcTarget t = {.kind = &kind_application, .id = id};
    op_submit(target_op(s, x, &t, STORE_WRITE, run_sync, done, arg));
}

void svc_application_refresh(Service *s, const SvcCtx *x, Str id, SvcDone done, void *arg)
{
    SvcTarget t = {.kind = &kind_application, .id = id};
    op_submit(target_op(s, x, &t, STORE_WRITE, run_refresh, done, arg));
}
