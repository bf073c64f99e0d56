/*
 * Role bindings: who may give which role to whom, change it and take it away.
 * rest-governance-and-auth.md 3, with the DO lines of D3, D4, D37, D38, D40, D42 to D48, D55, D60 and D61.
 */
#include "service-internal.h"

static int bad(Err *err, const char *why)
{
    return err_set(err, ERR_BAD_REQUEST, "%s", why);
}

static int denied(Err *err, const char *why)
{
    return err_set(err, ERR_FORBIDDEN, "%s", why);
}

static bool is_admin(const Op *op)
{
    return authz_is_privileged(op->caller) || rights_is_admin(op->rights);
}

static bool is_static_service(const Op *op)
{
    return op->caller->type == CALLER_SERVICE && !*op->caller->username;
}

static bool is_own(const Op *op, const Obj *b)
{
    Str user = obj_str(b, ROLE_BINDING_USER_ID);
    return user.len && str_eqz(user, op->caller->username);
}

/* ---- roles ---- */

/* By its id, else by its name. */
static int role_find(Tx *tx, Str id_or_name, Obj **ret, Err *err)
{
    int rc = tx_get(tx, &kind_role, id_or_name, ret, err);
    return rc == -ERR_NOT_FOUND ? tx_find(tx, &kind_role, ROLE_NAME, id_or_name, ret, err) : rc;
}

static int target_role(Tx *tx, Str id_or_name, Obj **ret, Err *err)
{
    Err why = {0};
    int rc = role_find(tx, id_or_name, ret, &why);
    if (rc == -ERR_NOT_FOUND)
        return denied(err, "target role not found");
    if (rc < 0 && err)
        *err = why;
    return rc;
}

/* ---- the form of a binding ---- */

static const struct {
    int field;
    GrantScope scope;
} fks[] = {
    {ROLE_BINDING_PROJECT_ID, GRANT_PROJECT},
    {ROLE_BINDING_AGENT_ID, GRANT_AGENT},
    {ROLE_BINDING_SESSION_ID, GRANT_SESSION},
    {ROLE_BINDING_CREDENTIAL_ID, GRANT_CREDENTIAL},
};

static int fk_of(GrantScope scope)
{
    for (size_t i = 0; i < ARRAY_LEN(fks); i++)
        if (fks[i].scope == scope)
            return fks[i].field;
    return -1;
}

/* Clients send "" and null for what they do not mean. Where a credential is bound to, they must mean it. */
static int drop_empty(Obj *b, GrantScope scope, Err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(fks); i++) {
        bool set = obj_has(b, fks[i].field), empty = set && !obj_str(b, fks[i].field).len;
        if (empty && scope == GRANT_CREDENTIAL && fks[i].scope == GRANT_PROJECT)
            return bad(err, "project_id must not be empty");
        if (empty && scope == GRANT_CREDENTIAL && fks[i].scope == GRANT_AGENT)
            return bad(err, "agent_id must not be empty");
        if (empty)
            obj_set_null(b, fks[i].field);
    }
    if (!obj_str(b, ROLE_BINDING_USER_ID).len)
        obj_set_null(b, ROLE_BINDING_USER_ID);
    return 0;
}

/* scope_id is the older name of the id that the scope asks for. */
static int take_scope_id(Obj *b, GrantScope scope, Err *err)
{
    int fk = fk_of(scope);
    Str id = obj_str(b, ROLE_BINDING_SCOPE_ID);
    if (id.len && fk < 0)
        return bad(err, "scope \"global\" has no scope_id");
    if (id.len && obj_has(b, fk) && !str_eq(obj_str(b, fk), id))
        return err_set(err, ERR_BAD_REQUEST, "scope_id and %s differ", kind_role_binding.fields[fk].json);
    if (id.len)
        obj_set_str(b, fk, id);
    obj_clear(b, ROLE_BINDING_SCOPE_ID);
    if (fk >= 0 && obj_has(b, fk))
        obj_set_str(b, ROLE_BINDING_SCOPE_ID, obj_str(b, fk));
    return 0;
}

/* An id that the scope does not ask for would be a right that nobody checked. */
static int check_fks(const Obj *b, GrantScope scope, Err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(fks); i++) {
        bool set = obj_has(b, fks[i].field), asked = fks[i].scope == scope;
        if (asked && !set)
            return err_set(err, ERR_BAD_REQUEST, "scope \"%s\" needs %s", grant_scope_name(scope),
                           kind_role_binding.fields[fks[i].field].json);
        if (!asked && set && scope != GRANT_CREDENTIAL)
            return err_set(err, ERR_BAD_REQUEST, "%s does not belong to scope \"%s\"",
                           kind_role_binding.fields[fks[i].field].json, grant_scope_name(scope));
    }
    if (scope != GRANT_CREDENTIAL && !obj_has(b, ROLE_BINDING_USER_ID))
        return bad(err, "user_id is required");
    if (scope == GRANT_CREDENTIAL && obj_has(b, ROLE_BINDING_AGENT_ID) &&
        !obj_has(b, ROLE_BINDING_PROJECT_ID))
        return bad(err, "agent-scoped credential bindings require a project_id");
    return 0;
}

/* Scope and ids fit together; completes scope_id. */
static int check_form(Obj *b, GrantScope *ret, Err *err)
{
    GrantScope scope = grant_scope_parse(obj_str(b, ROLE_BINDING_SCOPE));
    if (scope == _GRANT_SCOPE_INVALID)
        return bad(err, "invalid scope");
    int rc = drop_empty(b, scope, err);
    if (rc == 0)
        rc = take_scope_id(b, scope, err);
    if (rc == 0)
        rc = check_fks(b, scope, err);
    if (rc == 0)
        *ret = scope;
    return rc;
}

/* The id of a user's row is taken for the user: some clients know only that. */
static int name_the_user(Tx *tx, Obj *b, Err *err)
{
    CLEANUP(obj_freep) Obj *user = NULL;
    Err why = {0};
    Str id = obj_str(b, ROLE_BINDING_USER_ID);
    if (!ksuid_is_valid(id))
        return 0;
    int rc = tx_get(tx, &kind_user, id, &user, &why);
    if (rc == 0)
        obj_set_str(b, ROLE_BINDING_USER_ID, obj_str(user, USER_USERNAME));
    else if (rc != -ERR_NOT_FOUND && err)
        *err = why;
    return rc == -ERR_NOT_FOUND ? 0 : rc;
}

/* ---- where it is ---- */

/* The project that an agent or a session is in; what is not there is in none. */
static int project_of(Tx *tx, const Kind *k, Str id, int field, Obj *b, Err *err)
{
    CLEANUP(obj_freep) Obj *o = NULL;
    Err why = {0};
    int rc = tx_get(tx, k, id, &o, &why);
    if (rc == 0)
        obj_set_str(b, ROLE_BINDING_HOME, obj_str(o, field));
    else if (rc != -ERR_NOT_FOUND && err)
        *err = why;
    return rc == -ERR_NOT_FOUND ? 0 : rc;
}

static int find_home(Tx *tx, Obj *b, GrantScope scope, Err *err)
{
    obj_set_null(b, ROLE_BINDING_HOME);
    if (scope == GRANT_AGENT)
        return project_of(tx, &kind_agent, obj_str(b, ROLE_BINDING_AGENT_ID), AGENT_PROJECT_ID, b, err);
    if (scope == GRANT_SESSION)
        return project_of(tx, &kind_session, obj_str(b, ROLE_BINDING_SESSION_ID), SESSION_PROJECT_ID, b, err);
    if (obj_has(b, ROLE_BINDING_PROJECT_ID))
        obj_set_str(b, ROLE_BINDING_HOME, obj_str(b, ROLE_BINDING_PROJECT_ID));
    return 0;
}

/* Asked after the right to bind: whoever has none learns nothing of what is there. */
static int check_exists(Tx *tx, const Obj *b, GrantScope scope, Err *err)
{
    const struct {
        int field;
        const Kind *kind;
    } rows[] = {
        {ROLE_BINDING_PROJECT_ID, &kind_project},
        {ROLE_BINDING_SESSION_ID, &kind_session},
        {ROLE_BINDING_CREDENTIAL_ID, &kind_credential},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool there = true;
        Str id = obj_str(b, rows[i].field);
        int rc = id.len ? tx_exists(tx, rows[i].kind, id, &there, err) : 0;
        if (rc < 0 || !there)
            return rc < 0 ? rc : not_found(rows[i].kind, id, err);
    }
    CLEANUP(obj_freep) Obj *agent = NULL;
    Str id = obj_str(b, ROLE_BINDING_AGENT_ID);
    if (!id.len)
        return 0;
    Err why = {0};
    int rc = tx_get(tx, &kind_agent, id, &agent, &why);
    if (scope == GRANT_CREDENTIAL &&
        (rc == -ERR_NOT_FOUND ||
         (rc == 0 && !str_eq(obj_str(agent, AGENT_PROJECT_ID), obj_str(b, ROLE_BINDING_PROJECT_ID)))))
        return bad(err, "agent does not belong to the specified project");
    if (rc < 0 && err)
        *err = why;
    return rc;
}

/* ---- who may give it ---- */

static bool is_of(const char *role, const char *family)
{
    size_t len = strlen(family);
    return strncmp(role, family, len) == 0 && role[len] == ':';
}

/* A role goes to whoever stands below the giver. Custom roles have no level: an owner gives what he has. */
static bool is_grantable(const Op *op, const Obj *role, int level, GrantScope where, Str id)
{
    const BuiltinRole *b = builtin_role(obj_str(role, ROLE_NAME));
    if (level == 0)
        return true;
    if (!b)
        return level == 1 && rights_hold_role(op->rights, obj_str(role, ROLE_PERMISSIONS), where, id);
    return !b->internal && level < b->level;
}

static int may_give_credential(const Op *op, const Obj *b, const Obj *role, Err *err)
{
    Str credential = obj_str(b, ROLE_BINDING_CREDENTIAL_ID), project = obj_str(b, ROLE_BINDING_PROJECT_ID);
    int level = rights_level(op->rights, GRANT_CREDENTIAL, credential);
    if (level > 1)
        return denied(err, "caller must be credential owner to grant credential-scoped bindings");
    if (!is_grantable(op, role, level, GRANT_CREDENTIAL, credential))
        return denied(err, "insufficient privileges to grant this role");
    if (!project.len)
        return denied(err, "only platform admins can create global credential bindings");
    if (rights_level(op->rights, GRANT_PROJECT, project) > 2)
        return denied(err, "caller must be project editor or higher to bind credentials to a project");
    if (obj_has(b, ROLE_BINDING_SESSION_ID))
        return denied(err, "only platform admins can bind credentials to a session");
    return 0;
}

/* Agents and sessions are given away by those who may do so in their project. */
static int may_give_in_project(const Op *op, const Obj *b, const Obj *role, Err *err)
{
    Str project = obj_str(b, ROLE_BINDING_HOME);
    int level = rights_level(op->rights, GRANT_PROJECT, project);
    bool foreign_family = str_eqz(obj_str(b, ROLE_BINDING_SCOPE), "project") && level > 1 &&
                          !is_of(obj_cstr(role, ROLE_NAME), "project");
    if (foreign_family || !is_grantable(op, role, level, GRANT_PROJECT, project))
        return denied(err, "insufficient privileges to grant this role");
    return 0;
}

static bool is_internal(const Obj *role)
{
    const BuiltinRole *b = builtin_role(obj_str(role, ROLE_NAME));
    return b && b->internal;
}

/* The platform gives a session's runner the tokens that were bound to it, and nothing else. */
static bool is_platforms(const Op *op, const Obj *b, const Obj *role)
{
    return is_static_service(op) && str_eqz(obj_str(role, ROLE_NAME), "credential:token-reader") &&
           obj_has(b, ROLE_BINDING_SESSION_ID);
}

static int may_give(const Op *op, const Obj *b, const Obj *role, GrantScope scope, Err *err)
{
    if (is_admin(op) || is_platforms(op, b, role))
        return 0;
    if (is_internal(role))
        return denied(err, "cannot assign internal role");
    if (scope == GRANT_GLOBAL)
        return denied(err, "only platform admins can create global bindings");
    return scope == GRANT_CREDENTIAL ? may_give_credential(op, b, role, err)
                                     : may_give_in_project(op, b, role, err);
}

static int check_fits(const Obj *role, GrantScope scope, Err *err)
{
    const BuiltinRole *b = builtin_role(obj_str(role, ROLE_NAME));
    if (!b || (b->scopes >> scope & 1))
        return 0;
    return err_set(err, ERR_BAD_REQUEST, "role %s cannot be bound at scope \"%s\"", b->name,
                   grant_scope_name(scope));
}

/* ---- create ---- */

static int binding_before_create(Op *op, Tx *tx, Obj *b, Err *err)
{
    CLEANUP(obj_freep) Obj *role = NULL;
    GrantScope scope;
    op->access_changed = true;
    int rc = check_form(b, &scope, err);
    if (rc == 0)
        rc = op_fresh_rights(op, tx, err);
    if (rc == 0)
        rc = target_role(tx, obj_str(b, ROLE_BINDING_ROLE_ID), &role, err);
    if (rc == 0)
        rc = find_home(tx, b, scope, err);
    if (rc == 0)
        rc = may_give(op, b, role, scope, err);
    if (rc == 0)
        rc = check_fits(role, scope, err);
    if (rc == 0)
        rc = check_exists(tx, b, scope, err);
    if (rc == 0)
        rc = name_the_user(tx, b, err);
    if (rc == 0)
        obj_set_str(b, ROLE_BINDING_ROLE_ID, obj_str(role, FIELD_ID));
    return rc;
}

int binding_add_owner(Op *op, Tx *tx, const char *role_name, GrantScope scope, Str id, Err *err)
{
    CLEANUP(obj_freep) Obj *role = NULL;
    CLEANUP(obj_freep) Obj *b = obj_new(&kind_role_binding);
    if (!*op->caller->username)
        return 0;
    int rc = tx_find(tx, &kind_role, ROLE_NAME, str_from(role_name), &role, err);
    if (rc < 0)
        return err_set(err, ERR_INTERNAL, "role %s is not in the store", role_name);
    op->access_changed = true;
    obj_set_str(b, ROLE_BINDING_ROLE_ID, obj_str(role, FIELD_ID));
    obj_set_str(b, ROLE_BINDING_SCOPE, str_from(grant_scope_name(scope)));
    obj_set_str(b, ROLE_BINDING_SCOPE_ID, id);
    obj_set_str(b, ROLE_BINDING_USER_ID, str_from(op->caller->username));
    obj_set_str(b, fk_of(scope), id);
    if (scope == GRANT_PROJECT)
        obj_set_str(b, ROLE_BINDING_HOME, id);
    return tx_insert(tx, b, err);
}

int binding_add_credential(Op *op, Tx *tx, Str credential, Str project, Err *err)
{
    CLEANUP(obj_freep) Obj *role = NULL;
    CLEANUP(obj_freep) Obj *b = obj_new(&kind_role_binding);
    if (!is_admin(op) && rights_level(op->rights, GRANT_PROJECT, project) > 2)
        return denied(err, "caller must be project editor or higher to bind credentials to a project");
    int rc = tx_find(tx, &kind_role, ROLE_NAME, STR("credential:viewer"), &role, err);
    if (rc < 0)
        return err_set(err, ERR_INTERNAL, "role credential:viewer is not in the store");
    op->access_changed = true;
    obj_set_str(b, ROLE_BINDING_ROLE_ID, obj_str(role, FIELD_ID));
    obj_set_str(b, ROLE_BINDING_SCOPE, STR("credential"));
    obj_set_str(b, ROLE_BINDING_SCOPE_ID, credential);
    obj_set_str(b, ROLE_BINDING_CREDENTIAL_ID, credential);
    obj_set_str(b, ROLE_BINDING_PROJECT_ID, project);
    return tx_insert(tx, b, err);
}

/* ---- the last owner ---- */

static int keep_an_owner(Tx *tx, const Obj *b, Err *err)
{
    CLEANUP(obj_freep) Obj *role = NULL;
    Err why = {0};
    int rc = tx_get(tx, &kind_role, obj_str(b, ROLE_BINDING_ROLE_ID), &role, &why);
    if (rc == -ERR_NOT_FOUND)
        return 0;
    if (rc < 0) {
        if (err)
            *err = why;
        return rc;
    }
    bool project = str_eqz(obj_str(role, ROLE_NAME), "project:owner");
    int field = project ? ROLE_BINDING_PROJECT_ID : ROLE_BINDING_CREDENTIAL_ID;
    if ((!project && !str_eqz(obj_str(role, ROLE_NAME), "credential:owner")) || !obj_has(b, field))
        return 0;
    CLEANUP(search_freep)
    SearchExpr *where = search_and(search_eq(ROLE_BINDING_ROLE_ID, obj_str(b, ROLE_BINDING_ROLE_ID)),
                                   search_and(search_eq(ROLE_BINDING_SCOPE, obj_str(b, ROLE_BINDING_SCOPE)),
                                              search_eq(field, obj_str(b, field))));
    CLEANUP(obj_list_done) ObjList all = {0};
    rc = tx_list(tx, &kind_role_binding, &(ListQuery){.where = where, .limit = 2, .no_total = true}, &all,
                 err);
    if (rc == 0 && all.len < 2)
        return err_set(err, ERR_CONFLICT, "cannot delete the last owner binding");
    return rc;
}

/* ---- change ---- */

static bool changes_field(const Obj *now, const Obj *changes, int field)
{
    return changes->v[field].state != V_ABSENT && !obj_value_equal(now, changes, field);
}

/* All but the role. "" and null of what is not set change nothing. */
static bool changes_place(const Obj *now, const Obj *changes)
{
    for (int i = ROLE_BINDING_SCOPE; i < ROLE_BINDING_HOME; i++) {
        if (!obj_str(now, i).len && !obj_str(changes, i).len)
            continue;
        if (changes_field(now, changes, i))
            return true;
    }
    return false;
}

static Obj *merged(const Obj *now, const Obj *changes)
{
    Obj *b = obj_dup(now);
    for (int i = FIELD_FIRST; i < _ROLE_BINDING_MAX; i++)
        if (changes->v[i].state != V_ABSENT)
            obj_copy_value(b, i, changes, i);
    obj_clear(b, ROLE_BINDING_SCOPE_ID);
    return b;
}

static int may_change(const Op *op, const Obj *now, const Obj *changes, const Obj *role, Err *err)
{
    if (is_internal(role) && changes_field(now, changes, ROLE_BINDING_ROLE_ID))
        return denied(err, "cannot assign internal role");
    if (is_admin(op))
        return 0;
    if (!is_own(op, now) || changes_place(now, changes))
        return forbidden(err);
    if (!changes_field(now, changes, ROLE_BINDING_ROLE_ID))
        return 0;
    int level = rights_level(op->rights, GRANT_PROJECT, obj_str(now, ROLE_BINDING_HOME));
    if (!is_grantable(op, role, level, GRANT_PROJECT, obj_str(now, ROLE_BINDING_HOME)))
        return denied(err, "insufficient privileges to change role");
    return 0;
}

/* What is stored afterwards is a whole binding again, and fits together. */
static int settle(Tx *tx, Obj *after, const Obj *role, Obj *changes, Err *err)
{
    static const int fields[] = {ROLE_BINDING_ROLE_ID,    ROLE_BINDING_SCOPE,         ROLE_BINDING_SCOPE_ID,
                                 ROLE_BINDING_USER_ID,    ROLE_BINDING_PROJECT_ID,    ROLE_BINDING_AGENT_ID,
                                 ROLE_BINDING_SESSION_ID, ROLE_BINDING_CREDENTIAL_ID, ROLE_BINDING_HOME};
    GrantScope scope;
    int rc = check_form(after, &scope, err);
    if (rc == 0)
        rc = check_fits(role, scope, err);
    if (rc == 0)
        rc = check_exists(tx, after, scope, err);
    if (rc == 0)
        rc = name_the_user(tx, after, err);
    if (rc == 0)
        rc = find_home(tx, after, scope, err);
    obj_set_str(after, ROLE_BINDING_ROLE_ID, obj_str(role, FIELD_ID));
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(fields); i++) {
        if (after->v[fields[i]].state == V_ABSENT)
            obj_set_null(after, fields[i]);
        obj_copy_value(changes, fields[i], after, fields[i]);
    }
    return rc;
}

static int binding_before_patch(Op *op, Tx *tx, const Obj *now, Obj *changes, Err *err)
{
    CLEANUP(obj_freep) Obj *role = NULL;
    CLEANUP(obj_freep) Obj *after = merged(now, changes);
    op->access_changed = true;
    int rc = op_fresh_rights(op, tx, err);
    if (rc == 0)
        rc = target_role(tx, obj_str(after, ROLE_BINDING_ROLE_ID), &role, err);
    if (rc == 0 && obj_has(changes, ROLE_BINDING_ROLE_ID))
        obj_set_str(changes, ROLE_BINDING_ROLE_ID, obj_str(role, FIELD_ID));
    if (rc == 0)
        rc = may_change(op, now, changes, role, err);
    if (rc == 0 && (changes_place(now, changes) || changes_field(now, changes, ROLE_BINDING_ROLE_ID)))
        rc = keep_an_owner(tx, now, err);
    return rc == 0 ? settle(tx, after, role, changes, err) : rc;
}

/* ---- delete ---- */

static int may_take(const Op *op, const Obj *b, const Obj *role, Err *err)
{
    GrantScope scope = grant_scope_parse(obj_str(b, ROLE_BINDING_SCOPE));
    Str home = obj_str(b, ROLE_BINDING_HOME), credential = obj_str(b, ROLE_BINDING_CREDENTIAL_ID);
    if (is_admin(op) || is_own(op, b) || (role && is_platforms(op, b, role)))
        return 0;
    int level = rights_level(op->rights, GRANT_PROJECT, home);
    if (scope == GRANT_CREDENTIAL) {
        bool holds_it = rights_level(op->rights, GRANT_CREDENTIAL, credential) == 1;
        bool is_owners = role && str_eqz(obj_str(role, ROLE_NAME), "credential:owner");
        if ((home.len && level <= 2) || (holds_it && !is_owners))
            return 0;
    } else if (role && level <= 1 && is_grantable(op, role, level, GRANT_PROJECT, home)) {
        return 0;
    }
    return denied(err, "insufficient privileges to delete this binding");
}

static int binding_before_delete(Op *op, Tx *tx, const Obj *b, Err *err)
{
    CLEANUP(obj_freep) Obj *role = NULL;
    Err why = {0};
    int rc = op_fresh_rights(op, tx, err);
    if (rc == 0)
        rc = keep_an_owner(tx, b, err);
    if (rc < 0)
        return rc;
    rc = tx_get(tx, &kind_role, obj_str(b, ROLE_BINDING_ROLE_ID), &role, &why);
    if (rc < 0 && rc != -ERR_NOT_FOUND) {
        if (err)
            *err = why;
        return rc;
    }
    return may_take(op, b, role, err);
}

/* Objects take the rights on them along. A later one with the same id, or a person with the same name, starts
   with none. */
int bindings_drop(Tx *tx, const Kind *k, const ObjList *gone, Err *err)
{
    const struct {
        const Kind *kind;
        int field, by;
    } rows[] = {
        {&kind_project, ROLE_BINDING_HOME, FIELD_ID},
        {&kind_agent, ROLE_BINDING_AGENT_ID, FIELD_ID},
        {&kind_session, ROLE_BINDING_SESSION_ID, FIELD_ID},
        {&kind_user, ROLE_BINDING_USER_ID, USER_USERNAME},
        {&kind_role, ROLE_BINDING_ROLE_ID, FIELD_ID},
        {&kind_credential, ROLE_BINDING_CREDENTIAL_ID, FIELD_ID},
    };
    for (size_t i = 0; gone->len && i < ARRAY_LEN(rows); i++) {
        if (rows[i].kind != k)
            continue;
        Str *ids = xcalloc(gone->len, sizeof(*ids));
        for (size_t n = 0; n < gone->len; n++)
            ids[n] = obj_str(gone->ptr[n], rows[i].by);
        SearchExpr *where = search_in(rows[i].field, ids, gone->len);
        free(ids);
        return delete_all(tx, &kind_role_binding, where, err);
    }
    return 0;
}

const KindRules rules_role_binding = {
    .kind = &kind_role_binding,
    .access = {.project = AT(ROLE_BINDING_HOME),
               .credential = AT(ROLE_BINDING_CREDENTIAL_ID),
               .owner = AT(ROLE_BINDING_USER_ID)},
    .before_create = binding_before_create,
    .before_patch = binding_before_patch,
    .before_delete = binding_before_delete,
};

/* ---- roles ---- */

static int role_is_ours(Err *err)
{
    return err_set(err, ERR_FORBIDDEN, "built-in roles cannot be changed");
}

static int role_before_patch(Op *op, Tx *tx, const Obj *now, Obj *changes, Err *err)
{
    op->access_changed = true;
    return obj_bool(now, ROLE_BUILT_IN, false) ? role_is_ours(err) : 0;
}

static int role_before_delete(Op *op, Tx *tx, const Obj *now, Err *err)
{
    return obj_bool(now, ROLE_BUILT_IN, false) ? role_is_ours(err) : 0;
}

const KindRules rules_role = {
    .kind = &kind_role,
    .delete_unknown_ok = true,
    .before_patch = role_before_patch,
    .before_delete = role_before_delete,
};
