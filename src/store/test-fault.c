/*
 * A disk that fails: a VFS between SQLite and the system's own counts the writes and syncs of the database's
 * files and makes the n-th one, and all behind it, fail until the fault is lifted.
 */
#include "test-support.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include "base/mem.h"

/* ---- the disk ---- */

typedef struct Disk {
    sqlite3_vfs vfs; /* first */
    sqlite3_vfs *real;
    atomic_long ops;     /* writes and syncs until now */
    atomic_long fail_at; /* 0 = never */
    atomic_bool failed;
    int code; /* what a failing write says */
} Disk;

typedef struct DiskFile {
    sqlite3_file base; /* first */
    sqlite3_io_methods methods;
    Disk *disk;
    sqlite3_file *real;
} DiskFile;

static Disk disk;

static bool disk_fails(Disk *d)
{
    long at = atomic_load(&d->fail_at);
    bool fails = atomic_fetch_add(&d->ops, 1) + 1 >= at && at;
    if (fails)
        atomic_store(&d->failed, true);
    return fails;
}

static void disk_set(long fail_at, int code)
{
    atomic_store(&disk.ops, 0);
    atomic_store(&disk.failed, false);
    disk.code = code;
    atomic_store(&disk.fail_at, fail_at);
}

static sqlite3_file *real(sqlite3_file *f)
{
    return ((DiskFile *)(void *)f)->real;
}

static int file_close(sqlite3_file *f)
{
    return real(f)->pMethods->xClose(real(f));
}
static int file_read_at(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return real(f)->pMethods->xRead(real(f), p, n, at);
}
/* A failing write may leave half of its bytes behind. */
static int file_write_at(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    Disk *d = ((DiskFile *)(void *)f)->disk;
    if (!disk_fails(d))
        return real(f)->pMethods->xWrite(real(f), p, n, at);
    (void)real(f)->pMethods->xWrite(real(f), p, n / 2, at);
    return d->code;
}
static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return real(f)->pMethods->xTruncate(real(f), size);
}
static int file_sync(sqlite3_file *f, int flags)
{
    return disk_fails(((DiskFile *)(void *)f)->disk) ? SQLITE_IOERR_FSYNC
                                                     : real(f)->pMethods->xSync(real(f), flags);
}
static int file_size(sqlite3_file *f, sqlite3_int64 *ret)
{
    return real(f)->pMethods->xFileSize(real(f), ret);
}
static int file_lock_it(sqlite3_file *f, int level)
{
    return real(f)->pMethods->xLock(real(f), level);
}
static int file_unlock(sqlite3_file *f, int level)
{
    return real(f)->pMethods->xUnlock(real(f), level);
}
static int file_check_lock(sqlite3_file *f, int *ret)
{
    return real(f)->pMethods->xCheckReservedLock(real(f), ret);
}
static int file_control(sqlite3_file *f, int op, void *arg)
{
    return real(f)->pMethods->xFileControl(real(f), op, arg);
}
static int file_sector(sqlite3_file *f)
{
    return real(f)->pMethods->xSectorSize(real(f));
}
static int file_traits(sqlite3_file *f)
{
    return real(f)->pMethods->xDeviceCharacteristics(real(f));
}
static int shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **ret)
{
    return real(f)->pMethods->xShmMap(real(f), page, size, extend, ret);
}
static int shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return real(f)->pMethods->xShmLock(real(f), offset, n, flags);
}
static void shm_barrier(sqlite3_file *f)
{
    real(f)->pMethods->xShmBarrier(real(f));
}
static int shm_unmap(sqlite3_file *f, int remove)
{
    return real(f)->pMethods->xShmUnmap(real(f), remove);
}

static const sqlite3_io_methods disk_methods = {
    2,           file_close,   file_read_at, file_write_at,   file_truncate, file_sync,
    file_size,   file_lock_it, file_unlock,  file_check_lock, file_control,  file_sector,
    file_traits, shm_map,      shm_lock,     shm_barrier,     shm_unmap,     NULL,
    NULL,
};

static int disk_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
    Disk *d = (Disk *)(void *)v;
    DiskFile *file = (DiskFile *)(void *)f;
    file->disk = d;
    file->real = (sqlite3_file *)(void *)(file + 1);
    int rc = d->real->xOpen(d->real, name, file->real, flags, ret_flags);
    f->pMethods = rc == SQLITE_OK ? &disk_methods : NULL;
    return rc;
}

static int disk_setup(void **state)
{
    disk.real = sqlite3_vfs_find(NULL);
    disk.vfs = *disk.real;
    disk.vfs.pNext = NULL;
    disk.vfs.zName = "fault";
    disk.vfs.szOsFile = (int)sizeof(DiskFile) + disk.real->szOsFile;
    disk.vfs.xOpen = disk_open;
    disk_set(0, SQLITE_OK);
    return sqlite3_vfs_register(&disk.vfs, 1);
}

static int disk_teardown(void **state)
{
    sqlite3_vfs_unregister(&disk.vfs);
    return sqlite3_vfs_register(disk.real, 1);
}

/* ---- the tests ---- */

typedef struct Last {
    const char *session;
    uint64_t seq;
} Last;

static int last_job(Tx *tx, void *arg, Err *err)
{
    Last *l = arg;
    return tx_message_last_seq(tx, str_from(l->session), &l->seq, err);
}

static uint64_t last_seq(Fixture *f, const char *session)
{
    Err err = {0};
    Last l = {session, 0};
    assert_ok(run_job(f, STORE_READ, last_job, &l, &err), &err);
    return l.seq;
}

static void fail_verify(void *arg, Str session, uint64_t seq, const char *why)
{
    fail_msg("session " STR_FMT ": message %lu: %s", STR_ARG(session), (unsigned long)seq, why);
}

/* Every write and sync of a run of pushes fails once. What was acknowledged stays, what was refused may be
 * tried again, and the chain is whole. */
static void run_faults(Fixture *f, int code, ErrCode want)
{
    Err err = {0};
    CLEANUP_FREE char *s = new_session(f, "s");
    uint64_t acked = 0;
    for (long n = 1;; n++) {
        disk_set(n, code);
        for (int i = 0; i < 4; i++) {
            Err why = {0};
            int rc = push(f, s, "some text", "", NULL, &why);
            acked += rc == 0;
            if (rc < 0 && why.code != want && why.code != ERR_IO)
                fail_msg("fault %ld: %s: %s", n, err_info(why.code)->name, why.msg);
            assert_int_equal(store_healthy(f->store, NULL), rc == 0);
        }
        bool failed = atomic_load(&disk.failed);
        disk_set(0, SQLITE_OK);
        uint64_t stored = last_seq(f, s);
        assert_int_equal(stored, acked);
        assert_ok(push(f, s, "again", "", NULL, &err), &err);
        acked++;
        assert_true(store_healthy(f->store, &err));
        if (!failed)
            break;
    }
    fixture_close(f);
    uint64_t rows = 0;
    assert_ok(store_verify(&f->options, STR_NULL, fail_verify, NULL, &rows, &err), &err);
    assert_int_equal(rows, acked);
}

static void test_fault__full_disk(void **state)
{
    run_faults(*state, SQLITE_FULL, ERR_NO_SPACE);
}

static void test_fault__broken_disk(void **state)
{
    run_faults(*state, SQLITE_IOERR_WRITE, ERR_IO);
}

static void test_fault__read_only_disk(void **state)
{
    run_faults(*state, SQLITE_READONLY, ERR_IO);
}

static void health_changed(void *arg)
{
}

/* Without anybody who writes. */
static void test_fault__the_store_finds_out_that_the_disk_is_well_again(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP_FREE char *s = new_session(f, "s");
    disk_set(1, SQLITE_FULL);
    assert_true(push(f, s, "x", "", NULL, NULL) < 0);
    assert_false(store_healthy(f->store, &err));
    assert_int_equal(err.code, ERR_NO_SPACE);
    disk_set(0, SQLITE_OK);
    Timer *t = timer_new(f->loop, health_changed, NULL);
    while (!store_healthy(f->store, NULL)) {
        timer_arm(t, 20 * USEC_PER_MSEC);
        loop_run_once(f->loop, true);
    }
    timer_free(t);
}

int run_fault_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_fault__full_disk),
        TEST(test_fault__broken_disk),
        TEST(test_fault__read_only_disk),
        TEST(test_fault__the_store_finds_out_that_the_disk_is_well_again),
    };
    return cmocka_run_group_tests_name("store fault", tests, disk_setup, disk_teardown);
}
