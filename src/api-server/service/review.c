/*
 * May I? The same evaluation that requests go through, asked without doing anything. What does not exist and
 * what the caller may not see are one answer.
 */
#include "service-internal.h"

/* ---- one question ---- */

/* Where the named object is; ids of what is not there stay as they were given. */
static int look_up(Tx *tx, const KindRules *r, Str id, AuthzScope *z, Obj **ret, Err *err)
{
    Err why = {0};
    int rc = tx_get(tx, r->kind, id, ret, &why);
    if (rc == 0)
        access_scope(&r->access, *ret, z);
    else if (rc != -ERR_NOT_FOUND && err)
        *err = why;
    return rc == -ERR_NOT_FOUND ? 0 : rc;
}

static int find_place(Op *op, Tx *tx, AuthzScope *z, Err *err)
{
    const AuthzScope *asked = &op->review;
    *z = *asked;
    int rc = 0;
    if (asked->session_id.len)
        rc = look_up(tx, &rules_session, asked->session_id, z, &op->obj, err);
    else if (asked->agent_id.len)
        rc = look_up(tx, &rules_agent, asked->agent_id, z, &op->agent, err);
    return rc;
}

static void write_why(Buf *out, const AuthzWhy *why, const char *permission)
{
    bool first = true;
    (void)buf_addc(out, '{');
    json_key(out, &first, "allowed");
    (void)buf_addz(out, why->allowed ? "true" : "false");
    if (why->grant) {
        json_key(out, &first, "binding_id");
        json_write_str(out, str_from(why->grant->binding_id));
    }
    json_key(out, &first, "permission");
    json_write_str(out, str_from(permission));
    json_key(out, &first, "reason");
    json_write_str(out, str_from(why->reason));
    if (why->grant) {
        json_key(out, &first, "role");
        json_write_str(out, str_from(rights_role_name(why->grant->role)));
        json_key(out, &first, "scope");
        json_write_str(out, str_from(grant_scope_name(why->grant->scope)));
    }
    (void)buf_addc(out, '}');
}

static bool is_word(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!(s.ptr[i] >= 'a' && s.ptr[i] <= 'z') && s.ptr[i] != '_')
            return false;
    return s.len > 0 && s.len < PERMISSION_MAX / 2;
}

/* Administrators ask for others: as if they had called. */
static int review_other(Op *op, Tx *tx, const char *permission, const AuthzScope *z, Err *err)
{
    CLEANUP(rights_unrefp) Rights *rights = NULL;
    CLEANUP(caller_unrefp) Caller *other = caller_new(CALLER_USER, op->id, STR_NULL, STR_NULL);
    if (!authz_is_privileged(op->caller) && !rights_is_admin(op->rights))
        return err_set(err, ERR_FORBIDDEN, "only administrators may ask for other users");
    int rc = access_load(tx, other, &rights, err);
    if (rc < 0)
        return rc;
    AuthzWhy why = authz_explain(other, rights, permission, z);
    write_why(&op->text, &why, permission);
    return 0;
}

static int run_review(Op *op, Tx *tx, Err *err)
{
    AuthzScope z;
    if (str_eq(op->payload, STR("list"))) /* what lists show is what may be read */
        op->payload = STR("read");
    if (!is_word(op->event_type) || !is_word(op->payload))
        return err_set(err, ERR_INVALID, "resource and verb are required: lowercase words");
    CLEANUP_FREE char *permission =
        xasprintf(STR_FMT ":" STR_FMT, STR_ARG(op->event_type), STR_ARG(op->payload));
    int rc = find_place(op, tx, &z, err);
    if (rc < 0)
        return rc;
    if (op->id.len && !str_eqz(op->id, op->caller->username))
        return review_other(op, tx, permission, &z, err);
    AuthzWhy why = authz_explain(op->caller, op->rights, permission, &z);
    write_why(&op->text, &why, permission);
    return 0;
}

void svc_access_review(Service *s, const SvcCtx *x, const SvcReview *r, SvcDone done, void *arg)
{
    Op *op = op_new(s, x, STORE_READ, run_review, done, arg);
    op->id = op_keep(op, r->user);
    op->event_type = op_keep(op, r->resource);
    op->payload = op_keep(op, r->verb);
    op->review = (AuthzScope){
        .project_id = op_keep(op, r->project_id),
        .agent_id = op_keep(op, r->agent_id),
        .session_id = op_keep(op, r->session_id),
        .credential_id = op_keep(op, r->credential_id),
    };
    op_submit(op);
}

/* ---- everything ---- */

static void write_grant(Buf *out, const Grant *g)
{
    bool first = true;
    const char *p;
    (void)buf_addc(out, '{');
    json_key(out, &first, "binding_id");
    json_write_str(out, str_from(g->binding_id));
    json_key(out, &first, "permissions");
    for (size_t i = 0; (p = rights_role_permission(g->role, i)); i++) {
        (void)buf_addc(out, i ? ',' : '[');
        json_write_str(out, str_from(p));
    }
    (void)buf_addz(out, rights_role_permission(g->role, 0) ? "]" : "[]");
    json_key(out, &first, "role");
    json_write_str(out, str_from(rights_role_name(g->role)));
    json_key(out, &first, "scope");
    json_write_str(out, str_from(grant_scope_name(g->scope)));
    json_key(out, &first, "scope_id");
    json_write_str(out, str_from(g->id));
    (void)buf_addc(out, '}');
}

static int run_self(Op *op, Tx *tx, Err *err)
{
    Buf *out = &op->text;
    bool first = true, admin = authz_is_privileged(op->caller) || rights_is_admin(op->rights);
    (void)buf_addc(out, '{');
    json_key(out, &first, "admin");
    (void)buf_addz(out, admin ? "true" : "false");
    json_key(out, &first, "items");
    (void)buf_addc(out, '[');
    for (size_t i = 0; i < rights_len(op->rights); i++) {
        (void)buf_addz(out, i ? "," : "");
        write_grant(out, rights_at(op->rights, i));
    }
    (void)buf_addc(out, ']');
    json_key(out, &first, "username");
    json_write_str(out, str_from(op->caller->username));
    (void)buf_addc(out, '}');
    return buf_check(out, err);
}

void svc_access_self(Service *s, const SvcCtx *x, SvcDone done, void *arg)
{
    op_submit(op_new(s, x, STORE_READ, run_self, done, arg));
}
