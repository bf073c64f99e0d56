#include "descendants.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/str.h"
#include "base/vec.h"

/* Each round finds what the last one's victims left to us. */
#define ROUNDS 50
/* A killed process ends when it next runs; one that hangs in the kernel is not waited for longer. */
#define WAIT_MS 200

typedef struct Pids {
    pid_t *ptr;
    size_t len, cap;
} Pids;

void descendants_adopt(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* "pid (name) S ppid pgrp ..."; the name may hold anything, so fields are counted from its last ")". */
static bool read_stat(const char *pid, pid_t *ret_ppid, pid_t *ret_pgrp)
{
    char path[64];
    CLEANUP_BUF Buf text = BUF_INIT(4096);
    int64_t ppid, pgrp;

    snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    if (file_read(path, &text, NULL) < 0 || !text.data)
        return false;
    const char *end = strrchr(text.data, ')');
    if (!end || strlen(end) < 4)
        return false;
    Str rest = str_from(end + 4); /* behind ") S " */
    if (str_to_i64(str_cut(&rest, ' '), &ppid) < 0 || str_to_i64(str_cut(&rest, ' '), &pgrp) < 0)
        return false;
    *ret_ppid = (pid_t)ppid;
    *ret_pgrp = (pid_t)pgrp;
    return true;
}

static void own_children(pid_t pgid, pid_t spare, Pids *out)
{
    DIR *proc = opendir("/proc");
    const struct dirent *d;

    if (!proc)
        return;
    while ((d = readdir(proc))) { // NOLINT(concurrency-mt-unsafe): a DIR of our own
        int64_t pid;
        pid_t ppid, pgrp;
        if (str_to_i64(str_from(d->d_name), &pid) < 0 || !read_stat(d->d_name, &ppid, &pgrp))
            continue;
        if (ppid == getpid() && (pid_t)pid != spare && (pgid == 0 || pgrp == pgid))
            vec_push(out, (pid_t)pid);
    }
    closedir(proc);
}

static void kill_and_reap(pid_t pid)
{
    CLEANUP_FD int fd = pidfd_open(pid, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};

    kill(pid, SIGKILL);
    if (fd >= 0)
        poll(&p, 1, WAIT_MS);
    waitpid(pid, NULL, WNOHANG);
}

void descendants_kill(pid_t pgid, pid_t spare)
{
    for (int round = 0; round < ROUNDS; round++) {
        Pids pids = {0};
        own_children(pgid, spare, &pids);
        size_t left = pids.len;
        VEC_FOREACH (&pids, p)
            kill_and_reap(*p);
        vec_free(&pids);
        if (left == 0)
            return;
    }
}

void descendants_reap(pid_t spare)
{
    Pids pids = {0};

    own_children(0, spare, &pids);
    VEC_FOREACH (&pids, p)
        waitpid(*p, NULL, WNOHANG);
    vec_free(&pids);
}
