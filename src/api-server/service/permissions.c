/*
 * The permission of each operation is "<kind's permission>:<verb>". The verbs are one table; who holds which
 * permission is auth/authz.h's business.
 */
#include "service-internal.h"

static const struct {
    const char *name;
    bool read; /* denied reads answer "not found", as if the object were not there */
} verbs[_VERB_MAX] = {
    [VERB_READ] = {"read", true},
    [VERB_CREATE] = {"create", false},
    [VERB_UPDATE] = {"update", false},
    [VERB_DELETE] = {"delete", false},
    [VERB_START] = {"start", false},
    [VERB_STOP] = {"stop", false},
    [VERB_STATUS] = {"status", false},
    [VERB_WATCH] = {"watch", true},
    [VERB_FETCH_TOKEN] = {"fetch_token", false},
    [VERB_TOKEN] = {"token", false},
};

void permission_name(const Kind *k, Verb v, char *out, size_t size)
{
    (void)snprintf(out, size, "%s:%s", k->permission, verbs[v].name);
}

bool op_allows(const Op *op, const char *permission, const AuthzScope *z)
{
    return authz_allows(op->caller, op->rights, permission, z);
}

bool op_may(const Op *op, const Kind *k, Verb v, const Scope *sc)
{
    char name[PERMISSION_MAX];
    permission_name(k, v, name, sizeof(name));
    return op_allows(op, name, &sc->z);
}

int forbidden(Err *err)
{
    return err_set(err, ERR_FORBIDDEN, "%s", err_info(ERR_FORBIDDEN)->reason);
}

int not_found(const Kind *k, Str id, Err *err)
{
    return err_set(err, ERR_NOT_FOUND, "%s with id='" STR_FMT "' not found", k->name, STR_ARG(id));
}

void scope_done(Scope *sc)
{
    sc->project = obj_free(sc->project);
    sc->agent = obj_free(sc->agent);
}

int scope_project(Tx *tx, Str project_id, bool must_exist, Scope *sc, Err *err)
{
    sc->z.project_id = project_id;
    if (!project_id.len)
        return 0;
    Err why = {0};
    int rc = tx_get(tx, &kind_project, project_id, &sc->project, &why);
    if (rc == -ERR_NOT_FOUND && !must_exist)
        return 0;
    if (rc < 0 && err)
        *err = why;
    return rc;
}

int op_scope(Op *op, Tx *tx, const Obj *o, Scope *ret, Err *err)
{
    if (op->rules->scope)
        return op->rules->scope(op, tx, o, ret, err);
    access_scope(&op->rules->access, o, &ret->z);
    return 0;
}

int op_authorize(Op *op, Tx *tx, Verb v, const Obj *o, Err *err)
{
    CLEANUP(scope_done) Scope sc = {0};
    int rc = op_scope(op, tx, o, &sc, err);
    if (rc < 0)
        return rc;
    if (op_may(op, op->kind, v, &sc))
        return 0;
    return verbs[v].read ? not_found(op->kind, obj_str(o, FIELD_ID), err) : forbidden(err);
}
