/*
 * Idempotency of creations: the same Idempotency-Key of the same caller for the same kind gives the object
 * that the first call made. The key is written in the transaction that makes the object.
 */
#include "service-internal.h"

static char *request_key(const Op *op, const Kind *k)
{
    return xasprintf("%s/" STR_FMT, k->name, STR_ARG(op->request_id));
}

/* What was made is shown to who may still see it. */
static int check_readable(const Op *op, const Kind *k, Obj **o, Err *err)
{
    Scope sc = {0};
    access_scope(&rules_of(k)->access, *o, &sc.z);
    if (op_may(op, k, VERB_READ, &sc))
        return 0;
    *o = obj_free(*o);
    return forbidden(err);
}

int request_replay(Op *op, Tx *tx, const Kind *k, Obj **ret, Err *err)
{
    *ret = NULL;
    if (!op->request_id.len)
        return 0;
    CLEANUP_FREE char *key = request_key(op, k);
    CLEANUP_FREE char *id = NULL;
    Err why = {0};
    int rc = tx_request_get(tx, str_from(op->caller->actor), str_from(key), &id, &why);
    if (rc == -ERR_NOT_FOUND)
        return 0;
    if (rc == 0)
        rc = tx_get(tx, k, str_from(id), ret, &why);
    if (rc == -ERR_NOT_FOUND)
        return err_set(err, ERR_CONFLICT, "the %s made by this Idempotency-Key was deleted", k->name);
    if (rc < 0 && err)
        *err = why;
    op->replayed = rc == 0;
    return rc < 0 ? rc : check_readable(op, k, ret, err);
}

int request_remember(Op *op, Tx *tx, const Kind *k, const Obj *o, Err *err)
{
    if (!op->request_id.len)
        return 0;
    CLEANUP_FREE char *key = request_key(op, k);
    return tx_request_put(tx, str_from(op->caller->actor), str_from(key), obj_str(o, FIELD_ID), err);
}
