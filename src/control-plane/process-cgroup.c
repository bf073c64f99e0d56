#include "process-cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#define OWN "ambient-control-plane"
#define PERIOD 100000 /* microseconds; the kernel's default */
/* A killed process leaves its group a moment later. */
#define REMOVE_TRIES 50
#define REMOVE_WAIT 100    /* ms */
#define CPU_MAX_LIMIT 1024 /* processors */

int cgroups_parse_cpu(const char *text, int64_t *ret, Err *err)
{
    double n;
    if (str_to_double(str_from(text), &n) < 0 || !(n >= 0.01 && n <= CPU_MAX_LIMIT))
        return err_set(err, ERR_USAGE, "LOCAL_CPU_MAX=%s: must be a number of processors, such as 1.5", text);
    *ret = (int64_t)(n * 1000);
    return 0;
}

static int write_file(const char *dir, const char *name, const char *text)
{
    CLEANUP_FREE char *path = path_join(dir, name);
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t len = strlen(text);
    if (fd < 0 || write(fd, text, len) != (ssize_t)len)
        return errno ? -errno : -EIO;
    return 0;
}

/* ---- finding our own ---- */

/* proc(5), mountinfo: field 5 is the mount point, the type stands behind " - ". */
static char *find_mount(const char *proc)
{
    CLEANUP_FREE char *path = path_join(proc, "self/mountinfo");
    CLEANUP_BUF Buf b = BUF_INIT(1024 * 1024);
    if (file_read(path, &b, NULL) < 0)
        return NULL;
    for (Str rest = buf_str(&b); rest.ptr;) {
        Str line = str_cut(&rest, '\n'), point = STR_NULL;
        ptrdiff_t dash = str_find(line, STR(" - cgroup2 "));
        for (int field = 1; dash >= 0 && field <= 5 && line.ptr; field++)
            point = str_cut(&line, ' ');
        if (dash >= 0 && point.len > 0)
            return str_dup(point);
    }
    return NULL;
}

/* "0::/path" is the one of v2. */
static char *find_own(const char *proc)
{
    CLEANUP_FREE char *mount = find_mount(proc);
    CLEANUP_FREE char *path = path_join(proc, "self/cgroup");
    CLEANUP_BUF Buf b = BUF_INIT(64 * 1024);
    if (!mount || file_read(path, &b, NULL) < 0)
        return NULL;
    for (Str rest = buf_str(&b); rest.ptr;) {
        Str line = str_cut(&rest, '\n');
        if (!str_starts(line, STR("0::/")))
            continue;
        line = str_slice(line, 3, line.len);
        /* Started again inside what we made: its parent is ours. */
        if (str_ends(line, STR("/" OWN)))
            line.len -= strlen("/" OWN);
        return xasprintf("%s" STR_FMT, mount, STR_ARG(line));
    }
    return NULL;
}

static bool has_word(Str words, const char *word)
{
    while (words.ptr) {
        if (str_eqz(str_trim(str_cut(&words, ' ')), word))
            return true;
    }
    return false;
}

static bool offers(const char *dir, const char *controller)
{
    CLEANUP_FREE char *path = path_join(dir, "cgroup.controllers");
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    return file_read(path, &b, NULL) == 0 && has_word(str_trim(buf_str(&b)), controller);
}

/* Our own process out of the way, then the controllers down to the children. 0 or -errno. */
static int take_over(const char *base, bool mem, bool cpu)
{
    char pid[32];
    CLEANUP_FREE char *own = path_join(base, OWN);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    if (mkdir(own, 0755) < 0 && errno != EEXIST)
        return -errno;
    int rc = write_file(own, "cgroup.procs", pid);
    if (rc == 0 && mem)
        rc = write_file(base, "cgroup.subtree_control", "+memory");
    if (rc == 0 && cpu)
        rc = write_file(base, "cgroup.subtree_control", "+cpu");
    if (rc < 0) {
        write_file(base, "cgroup.procs", pid);
        rmdir(own);
    }
    return rc;
}

void cgroups_open(Cgroups *g, const char *proc, int64_t mem_max, int64_t cpu_max)
{
    *g = (Cgroups){.mem_max = mem_max, .cpu_max = cpu_max};
    if (mem_max == 0 && cpu_max == 0)
        return;
    char *base = find_own(proc);
    const char *why = NULL;
    if (!base)
        why = "there is no cgroup v2";
    else if ((mem_max > 0 && !offers(base, "memory")) || (cpu_max > 0 && !offers(base, "cpu")))
        why = "our control group does not offer the controllers";
    else if (take_over(base, mem_max > 0, cpu_max > 0) < 0)
        why = "our control group is not delegated to us";
    if (!why) {
        g->base = base;
        log_info("runners are limited by control groups", F_STR("cgroup", base));
        return;
    }
    free(base);
    log_warn("runners are not limited by control groups", F_STR("reason", why),
             F_BOOL("memory_by_rlimit", mem_max > 0), F_BOOL("cpu_unlimited", cpu_max > 0));
}

void cgroups_close(Cgroups *g)
{
    free(g->base);
    *g = (Cgroups){0};
}

/* ---- one run's ---- */

char *cgroups_path(const Cgroups *g, const char *session_id, int64_t run)
{
    return g->base ? xasprintf("%s/ambient-%s-%lld", g->base, session_id, (long long)run) : xstrdup("");
}

int cgroups_make(const Cgroups *g, const char *path, Err *err)
{
    char text[64];
    if (!*path)
        return 0;
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return err_set_errno(err, errno, "control group %s", path);
    int rc = 0;
    if (g->mem_max > 0) {
        snprintf(text, sizeof(text), "%lld", (long long)g->mem_max);
        rc = write_file(path, "memory.max", text);
        write_file(path, "memory.swap.max", "0"); /* where there is swap, the limit would be none */
        write_file(path, "memory.oom.group", "1");
    }
    if (rc == 0 && g->cpu_max > 0) {
        snprintf(text, sizeof(text), "%lld %d", (long long)g->cpu_max * PERIOD / 1000, PERIOD);
        rc = write_file(path, "cpu.max", text);
    }
    return rc < 0 ? err_set_errno(err, -rc, "limits of control group %s", path) : 0;
}

void cgroup_end(const char *path)
{
    if (!*path || !file_exists(path))
        return;
    write_file(path, "cgroup.kill", "1");
    for (int i = 0; i < REMOVE_TRIES && rmdir(path) < 0 && errno == EBUSY; i++) {
        CLEANUP_FREE char *events = path_join(path, "cgroup.events");
        CLEANUP_FD int fd = open(events, O_RDONLY | O_CLOEXEC);
        struct pollfd emptied = {.fd = fd,
                                 .events = POLLPRI}; /* the kernel's sign that a value has changed */
        poll(&emptied, 1, REMOVE_WAIT);
    }
}
