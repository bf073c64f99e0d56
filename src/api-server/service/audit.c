/* Who did what that somebody may have to answer for: rows for administrators, and lines in the log. */
#include "service-internal.h"

#include "base/log.h"

static void put(Obj *ev, int field, Str value)
{
    if (value.len)
        obj_set_str(ev, field, str_slice(value, 0, ev->kind->fields[field].max_len));
}

int audit(Op *op, Tx *tx, const char *action, const Obj *o, Err *err)
{
    CLEANUP(obj_freep) Obj *ev = obj_new(&kind_audit_event);
    put(ev, AUDIT_ACTION, str_from(action));
    put(ev, AUDIT_ACTOR, str_from(op->caller->actor));
    put(ev, AUDIT_RESOURCE_KIND, str_from(o->kind->name));
    put(ev, AUDIT_RESOURCE_ID, obj_str(o, FIELD_ID));
    put(ev, AUDIT_PROJECT_ID, op->project);
    put(ev, AUDIT_SOURCE, op->peer);
    put(ev, AUDIT_OPERATION_ID, op->operation_id);
    int rc = obj_finish_create(ev, err);
    return rc < 0 ? rc : tx_insert(tx, ev, err);
}

void audit_log(const Op *op, const char *action, const Obj *o)
{
    log_info("audit", F_STR("action", action), F_STR("actor", op->caller->actor),
             F_STR("resource", o->kind->name), F_STRV("id", obj_str(o, FIELD_ID)), F_STRV("source", op->peer),
             F_STRV("operation", op->operation_id));
}

/* ---- the kind: nobody changes it, administrators read it ---- */

const KindRules rules_audit_event = {
    .kind = &kind_audit_event,
    /* Nowhere: only rights that hold everywhere cover them. */
    .access = {0},
};
