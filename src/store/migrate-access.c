/*
 * Who owned a project by its column owns it by a role binding from now on. Run once: a binding that is taken
 * away later must not come back.
 */
#include "base/ksuid.h"
#include "base/map.h"
#include "store-internal.h"

/* The server completes the role at its next start. */
static int owner_role(Db *db, char **ret, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(db, STR("SELECT id FROM roles WHERE name = 'project:owner' AND deleted_at IS NULL"),
                      &st, err);
    if (rc == 0 && (rc = stmt_step(st, err)) > 0)
        *ret = str_dup(stmt_text(st, 0));
    if (rc != 0)
        return rc < 0 ? rc : 0;
    char id[KSUID_LEN + 1];
    WallUsec now = clock_wall(&clock_system);
    CLEANUP_STMT Stmt *in = NULL;
    rc = stmt_use(db,
                  STR("INSERT INTO roles (id, created_at, updated_at, name, permissions, built_in)"
                      " VALUES (?1, ?2, ?2, 'project:owner', '[]', ?3)"),
                  &in, err);
    if (rc < 0)
        return rc;
    ksuid_new(id, now);
    stmt_bind(in, 1, sql_text(str_from(id)));
    stmt_bind(in, 2, sql_time(now));
    stmt_bind(in, 3, sql_bool(true));
    rc = stmt_run(in, err);
    if (rc == 0)
        *ret = xstrdup(id);
    return rc;
}

static int bind_owner(Db *db, Str role, Str project, Str owner, Err *err)
{
    char id[KSUID_LEN + 1];
    WallUsec now = clock_wall(&clock_system);
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(db,
                      STR("INSERT INTO role_bindings (id, created_at, updated_at, role_id, scope, scope_id,"
                          " user_id, project_id) VALUES (?1, ?2, ?2, ?3, 'project', ?4, ?5, ?4)"),
                      &st, err);
    if (rc < 0)
        return rc;
    ksuid_new(id, now);
    stmt_bind(st, 1, sql_text(str_from(id)));
    stmt_bind(st, 2, sql_time(now));
    stmt_bind(st, 3, sql_text(role));
    stmt_bind(st, 4, sql_text(project));
    stmt_bind(st, 5, sql_text(owner));
    return stmt_run(st, err);
}

/* Project -> owner, of those that nobody owns by a binding yet. */
static int read_owners(Db *db, Str role, Map *ret, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(db,
                      STR("SELECT id, owner FROM projects WHERE deleted_at IS NULL AND owner IS NOT NULL"
                          " AND owner <> '' AND id NOT IN (SELECT project_id FROM role_bindings"
                          " WHERE role_id = ?1 AND project_id IS NOT NULL AND deleted_at IS NULL)"),
                      &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(role));
    while ((rc = stmt_step(st, err)) > 0) {
        CLEANUP_FREE char *id = str_dup(stmt_text(st, 0));
        free(map_put(ret, str_from(id), str_dup(stmt_text(st, 1))));
    }
    return rc;
}

int migrate_owner_bindings(Db *db, Err *err)
{
    CLEANUP_FREE char *role = NULL;
    Map *owners = map_new();
    int rc = owner_role(db, &role, err);
    if (rc == 0)
        rc = read_owners(db, str_from(role), owners, err);
    MAP_FOREACH (owners, it) {
        if (rc == 0)
            rc = bind_owner(db, str_from(role), it.key, str_from(it.value), err);
        free(it.value);
    }
    map_free(owners);
    return rc;
}
