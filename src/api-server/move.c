#include "move.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "store/dump.h"
#include "store/store.h"

typedef struct Say {
    const char *what;
    Usec next;
} Say;

/* For a person who waits: a line a second, on standard error. */
static void say_progress(void *arg, const DumpProgress *p)
{
    Say *s = arg;
    Usec now = clock_now(&clock_system);
    if (now < s->next)
        return;
    s->next = now + USEC_PER_SEC;
    (void)fprintf(stderr, "%s: %llu rows, in %s\n", s->what, (unsigned long long)p->rows, p->table);
}

static bool is_set(const char *s)
{
    return s && *s;
}

/* It holds prompts and messages: for the owner only. */
static int open_export(const Config *c, int *ret_fd, bool *ret_resume, Err *err)
{
    struct stat st;
    *ret_resume = false;
    *ret_fd = is_set(c->file) ? open(c->file, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : dup(STDOUT_FILENO);
    if (*ret_fd < 0 || fstat(*ret_fd, &st) < 0)
        return err_set_errno(err, errno, "cannot open %s", is_set(c->file) ? c->file : "the output");
    *ret_resume = is_set(c->file) && S_ISREG(st.st_mode) && st.st_size > 0;
    return 0;
}

int move_export(const Config *c, Err *err)
{
    CLEANUP_FD int fd = -1;
    bool resume;
    uint64_t rows = 0;
    Say say = {.what = "export"};
    const StoreOptions where = config_store(c);
    int rc = open_export(c, &fd, &resume, err);
    if (rc == 0)
        rc = store_export(&where, fd, resume, say_progress, &say, &rows, err);
    if (rc < 0)
        return rc;
    (void)fprintf(stderr, "export: %llu rows\n", (unsigned long long)rows);
    return 0;
}

static void say_bad(void *arg, Str session_id, uint64_t seq, const char *why)
{
    unsigned *bad = arg;
    (*bad)++;
    (void)fprintf(stderr, "import: session " STR_FMT ", seq %llu: %s\n", STR_ARG(session_id),
                  (unsigned long long)seq, why);
}

static int check(const StoreOptions *where, Err *err)
{
    unsigned bad = 0;
    uint64_t rows = 0;
    int rc = store_verify(where, STR_NULL, say_bad, &bad, &rows, err);
    if (rc < 0)
        return rc;
    (void)fprintf(stderr, "import: %llu messages checked, %u sessions do not fit\n", (unsigned long long)rows,
                  bad);
    return bad ? 1 : 0;
}

int move_import(const Config *c, Err *err)
{
    uint64_t rows = 0;
    Say say = {.what = "import"};
    const StoreOptions where = config_store(c);
    CLEANUP_FD int fd = is_set(c->file) ? open(c->file, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot open %s", is_set(c->file) ? c->file : "the input");
    int rc = store_import(&where, fd, say_progress, &say, &rows, err);
    if (rc < 0)
        return rc;
    (void)fprintf(stderr, "import: %llu rows\n", (unsigned long long)rows);
    return check(&where, err);
}
