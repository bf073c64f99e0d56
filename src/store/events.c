/* The log of changes of kinds: written by tx_event() with each change, read by the hub. */
#include "store-internal.h"

/* Rows that one statement of a purge removes: it holds the writer for so long. */
#define PURGE_ROWS 5000

static int event_type_parse(Str s)
{
    if (str_eqz(s, "Create"))
        return EVENT_CREATED;
    return str_eqz(s, "Delete") ? EVENT_DELETED : EVENT_UPDATED;
}

int tx_events_read(Tx *tx, uint64_t after, size_t max_rows, EventFn fn, void *arg, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(tx->db,
                      STR("SELECT version, event_type, source, source_id, project_id, owner FROM events"
                          " WHERE version > ?1 ORDER BY version LIMIT ?2"),
                      &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_int(after > INT64_MAX ? INT64_MAX : (int64_t)after));
    stmt_bind(st, 2, sql_int((int64_t)max_rows));
    while ((rc = stmt_step(st, err)) > 0) {
        Event ev = {
            .version = (uint64_t)stmt_int(st, 0),
            .type = (EventType)event_type_parse(stmt_text(st, 1)),
            .kind = kind_by_event_source(stmt_text(st, 2)), /* NULL for a source this program does not know */
            .object_id = stmt_text(st, 3),
            .project_id = stmt_text(st, 4),
            .owner = stmt_text(st, 5),
        };
        rc = fn(arg, &ev);
        if (rc)
            break;
    }
    return rc < 0 ? rc : 0;
}

int tx_events_range(Tx *tx, uint64_t *ret_oldest, uint64_t *ret_newest, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(
        tx->db, STR("SELECT (SELECT min(version) FROM events), (SELECT max(version) FROM events)"), &st, err);
    if (rc == 0)
        rc = stmt_step(st, err);
    if (rc < 0)
        return rc;
    uint64_t first = (uint64_t)stmt_int(st, 0);
    *ret_oldest = first ? first - 1 : 0;
    *ret_newest = (uint64_t)stmt_int(st, 1);
    return 0;
}

int tx_events_purge(Tx *tx, WallUsec before, uint64_t *ret_removed, Err *err)
{
    int rc = tx_change(tx, err);
    if (rc < 0)
        return rc;
    CLEANUP_STMT Stmt *st = NULL;
    /* The newest row stays: it says where the log stands. Rows go from the oldest on, never out of the
     * middle. */
    rc = stmt_use(tx->db,
                  STR("DELETE FROM events WHERE version IN (SELECT version FROM events"
                      " WHERE version < (SELECT max(version) FROM events) AND version < coalesce("
                      "(SELECT version FROM events WHERE created_at >= ?1 ORDER BY version LIMIT 1),"
                      " (SELECT max(version) FROM events)) ORDER BY version LIMIT ?2)"),
                  &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_time(before));
    stmt_bind(st, 2, sql_int(PURGE_ROWS));
    rc = stmt_run(st, err);
    if (rc == 0)
        *ret_removed = (uint64_t)tx->db->be->changes(tx->db);
    return rc;
}
