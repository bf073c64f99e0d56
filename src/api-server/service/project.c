/* Projects, and the settings of a project. rest-core.md 7 and 8. */
#include "service-internal.h"

static int project_before_create(Op *op, Tx *tx, Obj *o, Err *err)
{
    obj_clear(o, FIELD_ID);
    obj_clear(o, PROJECT_OWNER);
    if (*op->caller->username)
        obj_set_str(o, PROJECT_OWNER, str_from(op->caller->username));
    return 0;
}

/* Everybody who is somebody may make a project and owns it. */
static int project_after_create(Op *op, Tx *tx, const Obj *o, Err *err)
{
    return binding_add_owner(op, tx, "project:owner", GRANT_PROJECT, obj_str(o, FIELD_ID), err);
}

static int project_before_patch(Op *op, Tx *tx, const Obj *now, Obj *changes, Err *err)
{
    if (changes->v[PROJECT_NAME].state != V_ABSENT && !obj_value_equal(now, changes, PROJECT_NAME))
        return err_set(err, ERR_INVALID, "project name is immutable");
    obj_clear(changes, PROJECT_OWNER);
    return 0;
}

/* Sessions first: their Delete events are what makes the control plane end their processes. */
static int project_before_delete(Op *op, Tx *tx, const Obj *now, Err *err)
{
    static const struct {
        const Kind *kind;
        int field;
    } children[] = {
        {&kind_scheduled_session, SCHEDULE_PROJECT_ID},
        {&kind_session, SESSION_PROJECT_ID},
        {&kind_inbox_message, INBOX_PROJECT_ID},
        {&kind_agent, AGENT_PROJECT_ID},
        {&kind_project_settings, PROJECT_SETTINGS_PROJECT_ID},
    };
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        int rc = delete_all(tx, children[i].kind, search_eq(children[i].field, obj_str(now, FIELD_ID)), err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

const KindRules rules_project = {
    .kind = &kind_project,
    .delete_unknown_ok = true,
    .access = {.project = AT(FIELD_ID)},
    .before_create = project_before_create,
    .after_create = project_after_create,
    .before_patch = project_before_patch,
    .before_delete = project_before_delete,
};

/* ---- project_settings ---- */

static int settings_create_scope(Op *op, Tx *tx, const Obj *o, Scope *ret, Err *err)
{
    return scope_project(tx, obj_str(o, PROJECT_SETTINGS_PROJECT_ID), true, ret, err);
}

static int settings_filter(Op *op, Tx *tx, SearchExpr **ret, Err *err)
{
    CLEANUP(search_freep) SearchExpr *narrow = NULL;
    SearchExpr *visible = NULL;
    int rc = session_project_filter(op, tx, &narrow, err);
    if (rc == 0)
        rc = access_filter(op, tx, &visible, err);
    if (rc == 0)
        *ret = search_and(TAKE(narrow), visible);
    return rc;
}

static int settings_before_patch(Op *op, Tx *tx, const Obj *now, Obj *changes, Err *err)
{
    if (changes->v[PROJECT_SETTINGS_PROJECT_ID].state != V_ABSENT &&
        !obj_value_equal(now, changes, PROJECT_SETTINGS_PROJECT_ID))
        return err_set(err, ERR_INVALID, "project_id is immutable");
    return 0;
}

const KindRules rules_project_settings = {
    .kind = &kind_project_settings,
    .delete_unknown_ok = true,
    .access = {.project = AT(PROJECT_SETTINGS_PROJECT_ID)},
    .create_scope = settings_create_scope,
    .before_patch = settings_before_patch,
    .filter = settings_filter,
};
