/*
 * What a runner's own records change of its session. A runner may write nothing but messages; what it says of
 * its repositories is the session's reconciled state, kept in the transaction that keeps the record.
 */
#include "service-internal.h"

#define RECORD_MAX ((size_t)64 << 10)

static void take_json(const json_t *from, const char *key, Obj *changes, int field)
{
    CLEANUP_BUF Buf text = BUF_INIT(FIELD_LEN_DEFAULT);
    const json_t *value = json_object_get(from, key);
    if (!value)
        return;
    if (json_is_null(value)) {
        obj_set_null(changes, field);
        return;
    }
    json_write_plain(&text, value);
    if (!text.failed)
        obj_set_str(changes, field, buf_str(&text));
}

int message_effects(Op *op, Tx *tx, Err *err)
{
    CLEANUP_JSON json_t *record = NULL;
    CLEANUP(obj_freep) Obj *changes = NULL;
    bool changed;
    bool of_runner = op->caller->type != CALLER_USER && str_eq(op->event_type, STR("lifecycle"));
    if (!of_runner || op->payload.len > RECORD_MAX || str_find(op->payload, STR("\"repositories\"")) < 0)
        return 0;
    if (json_parse(op->payload, &record, NULL) < 0 ||
        !str_eqz(json_get_strv(record, "event"), "repositories"))
        return 0;
    changes = obj_new(&kind_session);
    take_json(record, "repos", changes, SESSION_RECONCILED_REPOS);
    take_json(record, "workflow", changes, SESSION_RECONCILED_WORKFLOW);
    return tx_update(tx, &kind_session, op->id, changes, &changed, NULL, err);
}
