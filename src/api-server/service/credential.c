/*
 * Credentials: the token is sealed before it is stored and opened only to be fetched, which is audited.
 * rest-governance-and-auth.md 4.
 */
#include "service-internal.h"

#include "base/log.h"

#define SEALED_MAX ((size_t)256 << 10)

/* ---- sealing ---- */

/* Plain text that looks sealed could not be told from sealed text later. */
static int keep_plain(Str token, Err *err)
{
    if (sealed_form(token, NULL) == SEALED_NOT)
        return 0;
    return err_set(err, ERR_INVALID, "token must not start with \"enc:\" while encryption is off");
}

int secret_seal(const Service *s, Obj *o, int field, Str owner, Err *err)
{
    CLEANUP_BUF Buf sealed = BUF_INIT(SEALED_MAX);
    Str plain = obj_str(o, field);
    if (!plain.len)
        return 0;
    if (keyring_active(s->keys) < 0)
        return keep_plain(plain, err);
    int rc = keyring_seal(s->keys, plain, owner, &sealed, err);
    if (rc == 0)
        obj_set_str(o, field, buf_str(&sealed));
    return rc;
}

/* Whether a stored token is this one, under the key of today: then a change to it is none. Anything that
   cannot be opened is simply replaced. */
static bool is_same_token(const Service *s, const Obj *now, Str token)
{
    CLEANUP(secret_freep) Secret *stored = NULL;
    int64_t version = -1;
    Str form = obj_str(now, CREDENTIAL_TOKEN);
    if (!form.len || keyring_open(s->keys, form, obj_str(now, FIELD_ID), &stored, NULL) < 0)
        return false;
    (void)sealed_form(form, &version);
    return version == keyring_active(s->keys) && secret_equals(stored, token);
}

/* ---- the kind ---- */

static int credential_enter(Op *op, Tx *tx, Err *err)
{
    bool exists = true;
    int rc = op->project.len ? tx_exists(tx, &kind_project, op->project, &exists, err) : 0;
    return rc == 0 && !exists ? not_found(&kind_project, op->project, err) : rc;
}

/* ---- the nested path: credentials that reach the project's sessions ---- */

/* Bindings that inject into the project, or everywhere. Whom a credential belongs to, and which session may
   read its token, is another matter. */
static SearchExpr *reaching(Str project)
{
    SearchExpr *everywhere =
        search_and(search_is_null(ROLE_BINDING_PROJECT_ID),
                   search_and(search_is_null(ROLE_BINDING_USER_ID), search_is_null(ROLE_BINDING_SESSION_ID)));
    return search_and(search_eq(ROLE_BINDING_SCOPE, STR("credential")),
                      search_or(search_eq(ROLE_BINDING_PROJECT_ID, project), everywhere));
}

static int credential_belongs(Op *op, Tx *tx, const Obj *o, Err *err)
{
    CLEANUP(obj_freep) Obj *binding = NULL;
    if (!op->project.len)
        return 0;
    int rc = find_first(
        tx, &kind_role_binding,
        search_and(search_eq(ROLE_BINDING_CREDENTIAL_ID, obj_str(o, FIELD_ID)), reaching(op->project)),
        (OrderItem){FIELD_CREATED_AT, false}, &binding, err);
    if (rc < 0 || binding)
        return rc;
    return not_found(&kind_credential, obj_str(o, FIELD_ID), err);
}

/* What a list of the project shows, beside what the caller may see at all. */
static int in_project(Tx *tx, Str project, SearchExpr **ret, Err *err)
{
    CLEANUP(search_freep) SearchExpr *where = reaching(project);
    CLEANUP(obj_list_done) ObjList rows = {0};
    ListQuery q = {.where = where, .limit = -1, .no_total = true};
    int rc = tx_list(tx, &kind_role_binding, &q, &rows, err);
    if (rc < 0)
        return rc;
    Str *ids = xcalloc(rows.len + 1, sizeof(*ids));
    for (size_t i = 0; i < rows.len; i++)
        ids[i] = obj_str(rows.ptr[i], ROLE_BINDING_CREDENTIAL_ID);
    *ret = rows.len ? search_in(FIELD_ID, ids, rows.len) : search_false();
    free(ids);
    return 0;
}

static int credential_before_create(Op *op, Tx *tx, Obj *o, Err *err)
{
    char id[KSUID_LEN + 1];
    ksuid_new(id, tx_now(tx));
    obj_set_str(o, FIELD_ID, str_from(id)); /* the token is sealed for this id */
    return secret_seal(op->s, o, CREDENTIAL_TOKEN, str_from(id), err);
}

static int credential_after_create(Op *op, Tx *tx, const Obj *o, Err *err)
{
    Str id = obj_str(o, FIELD_ID);
    int rc = binding_add_owner(op, tx, "credential:owner", GRANT_CREDENTIAL, id, err);
    return rc == 0 && op->project.len ? binding_add_credential(op, tx, id, op->project, err) : rc;
}

static int credential_before_patch(Op *op, Tx *tx, const Obj *now, Obj *changes, Err *err)
{
    if (!obj_has(changes, CREDENTIAL_TOKEN))
        return 0;
    if (is_same_token(op->s, now, obj_str(changes, CREDENTIAL_TOKEN))) {
        obj_clear(changes, CREDENTIAL_TOKEN);
        return 0;
    }
    return secret_seal(op->s, changes, CREDENTIAL_TOKEN, obj_str(now, FIELD_ID), err);
}

static int credential_filter(Op *op, Tx *tx, SearchExpr **ret, Err *err)
{
    CLEANUP(search_freep) SearchExpr *visible = NULL;
    SearchExpr *here = NULL;
    int rc = access_filter(op, tx, &visible, err);
    if (rc == 0 && op->project.len)
        rc = in_project(tx, op->project, &here, err);
    if (rc < 0)
        return rc;
    if (op->list.provider.len)
        here = search_and(search_eq(CREDENTIAL_PROVIDER, op->list.provider), here);
    *ret = search_and(here, TAKE(visible));
    return 0;
}

const KindRules rules_credential = {
    .kind = &kind_credential,
    .delete_unknown_ok = true,
    .enter = credential_enter,
    .belongs = credential_belongs,
    /* A project in the path adds no rights: they are held on the credential itself. */
    .access = {.credential = AT(FIELD_ID)},
    .before_create = credential_before_create,
    .after_create = credential_after_create,
    .before_patch = credential_before_patch,
    .filter = credential_filter,
};

/* ---- the token ---- */

/* Why a secret does not open is for the log: it tells of keys. */
static int open_token(Op *op, const Obj *o, Err *err)
{
    Err why = {0};
    Str form = obj_str(o, CREDENTIAL_TOKEN);
    if (!form.len) {
        op->secret = secret_new(STR(""));
        return 0;
    }
    if (keyring_open(op->s->keys, form, obj_str(o, FIELD_ID), &op->secret, &why) == 0)
        return 0;
    log_error("a credential's token cannot be read", F_STR("credential", obj_cstr(o, FIELD_ID)), F_ERR(&why));
    return err_set(err, ERR_INTERNAL, "the token cannot be read");
}

/* Whoever sees the credential, or the project he asked in, is told that he may not; clients then try with
   another token of theirs. For all others there is nothing. */
static int refuse_token(const Op *op, Err *err)
{
    const Scope credential = {.z = {.credential_id = op->id}}, project = {.z = {.project_id = op->project}};
    if (op_may(op, &kind_credential, VERB_READ, &credential) ||
        (op->project.len && op_may(op, &kind_project, VERB_READ, &project)))
        return forbidden(err);
    return not_found(&kind_credential, op->id, err);
}

static int run_token(Op *op, Tx *tx, Err *err)
{
    CLEANUP(obj_freep) Obj *o = NULL;
    Err why = {0};
    int rc = op_fresh_rights(op, tx, &why);
    if (rc == 0)
        rc = op_load(op, tx, VERB_FETCH_TOKEN, &o, &why);
    if (rc == -ERR_FORBIDDEN)
        return refuse_token(op, err);
    if (rc < 0 && err)
        *err = why;
    if (rc == 0)
        rc = open_token(op, o, err);
    if (rc == 0)
        rc = audit(op, tx, "credential:fetch_token", o, err);
    if (rc == 0)
        op->obj = TAKE(o);
    return rc;
}

static void token_was_read(Op *op)
{
    audit_log(op, "credential:fetch_token", op->obj);
}

/* A write: the audit event is on stable storage before the token leaves. */
void svc_credential_token(Service *s, const SvcCtx *x, const SvcTarget *t, SvcDone done, void *arg)
{
    Op *op = target_op(s, x, t, STORE_WRITE, run_token, done, arg);
    op->committed = token_was_read;
    op_submit(op);
}
