#include "proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/file.h"

/* An environment is at most as long as the arguments of exec. */
#define ENVIRON_MAX (2 * 1024 * 1024)
#define STAT_MAX 4096
/* Time for a killed process to go before we look at the next one, in ms. */
#define KILL_WAIT 100
/* Looks in a row that find no marked process, until none is believed to be there. */
#define QUIET_LOOKS 2
/* How often, 1 ms apart, a process is asked for its environment while it has a program and no environment. */
#define EXEC_LOOKS 50

typedef struct ProcStat {
    char state;
    pid_t parent;
    int64_t start_ticks;
} ProcStat;

static int read_proc(pid_t pid, const char *name, Buf *out)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    return file_read(path, out, NULL);
}

/* proc(5): "pid (comm) state ppid ...", start time is field 22. The name may hold anything, ')' included. */
static int stat_parse(Str text, ProcStat *ret)
{
    const char *end = memrchr(text.ptr, ')', text.len);
    if (!end)
        return -1;
    Str rest = str_slice(text, (size_t)(end - text.ptr) + 2, text.len);
    ProcStat st = {0};
    for (int field = 3; rest.ptr && field <= 22; field++) {
        Str word = str_cut(&rest, ' ');
        int64_t n = 0;
        if (field == 3)
            st.state = word.len > 0 ? word.ptr[0] : '?';
        else if ((field == 4 || field == 22) && str_to_i64(word, &n) < 0)
            return -1;
        if (field == 4)
            st.parent = (pid_t)n;
        if (field == 22) {
            st.start_ticks = n;
            *ret = st;
            return 0;
        }
    }
    return -1;
}

static int proc_stat(pid_t pid, ProcStat *ret)
{
    CLEANUP_BUF Buf b = BUF_INIT(STAT_MAX);
    if (pid <= 0 || read_proc(pid, "stat", &b) < 0)
        return -1;
    return stat_parse(buf_str(&b), ret);
}

int64_t proc_start_ticks(pid_t pid)
{
    ProcStat st;
    if (proc_stat(pid, &st) < 0 || st.state == 'Z' || st.state == 'X')
        return -1;
    return st.start_ticks;
}

static int pidfd_open(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

int proc_open(pid_t pid, int64_t start_ticks)
{
    if (pid <= 0 || start_ticks < 0)
        return -1;
    /* Opened first, compared second: what the descriptor names cannot change after that. */
    CLEANUP_FD int fd = pidfd_open(pid);
    if (fd < 0 || proc_start_ticks(pid) != start_ticks)
        return -1;
    int ret = fd;
    fd = -1;
    return ret;
}

int proc_signal(int pidfd, int signo)
{
    return syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0) < 0 ? -errno : 0;
}

Usec proc_age(int64_t start_ticks)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    Usec now = (Usec)t.tv_sec * USEC_PER_SEC + (Usec)t.tv_nsec / 1000;
    Usec hz = (Usec)sysconf(_SC_CLK_TCK);
    return usec_sub(now, (Usec)start_ticks * USEC_PER_SEC / hz);
}

void proc_boot_id(char out[static BOOT_ID_MAX])
{
    CLEANUP_BUF Buf b = BUF_INIT(BOOT_ID_MAX - 1);
    file_read("/proc/sys/kernel/random/boot_id", &b, NULL);
    Str id = str_trim(buf_str(&b));
    snprintf(out, BOOT_ID_MAX, STR_FMT, STR_ARG(id));
}

/* ---- looking through all of /proc ---- */

typedef bool (*ProcMatch)(pid_t pid, const void *arg);

static void closedirp(DIR **d)
{
    if (*d)
        closedir(*d);
}

static void kill_if(pid_t pid, ProcMatch match, const void *arg, unsigned *killed)
{
    CLEANUP_FD int fd = pidfd_open(pid);
    /* Asked again behind the open descriptor: only now is it sure who gets the signal. */
    if (fd < 0 || !match(pid, arg) || proc_signal(fd, SIGKILL) < 0)
        return;
    ++*killed;
    struct pollfd gone = {.fd = fd, .events = POLLIN};
    poll(&gone, 1, KILL_WAIT);
}

/* Says how many matched: one that ended by itself meanwhile may have started another, behind what was read of
   the directory. */
static unsigned kill_matching(ProcMatch match, const void *arg, unsigned *killed)
{
    CLEANUP(closedirp) DIR *d = opendir("/proc");
    unsigned seen = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        int64_t pid;
        if (!isdigit((unsigned char)e->d_name[0]) || str_to_i64(str_from(e->d_name), &pid) < 0)
            continue;
        if ((pid_t)pid == getpid() || !match((pid_t)pid, arg))
            continue;
        seen++;
        kill_if((pid_t)pid, match, arg, killed);
    }
    return seen;
}

static bool is_child(pid_t pid, const void *arg)
{
    ProcStat st;
    return proc_stat(pid, &st) == 0 && st.parent == *(const pid_t *)arg && st.state != 'Z' && st.state != 'X';
}

bool proc_kill_children(Usec patience)
{
    pid_t self = getpid();
    unsigned killed = 0;
    Usec end = usec_add(clock_now(&clock_system), patience);
    for (;;) {
        pid_t got;
        while ((got = waitpid(-1, NULL, WNOHANG)) > 0)
            ;
        if (got < 0 && errno == ECHILD)
            return true;
        if (clock_now(&clock_system) >= end)
            return false;
        kill_matching(is_child, &self, &killed);
    }
}

/* Of foreign users and of kernel threads there is nothing to read. In the middle of exec a process has no
   environment for a moment; some have none for good. */
static void read_environ(pid_t pid, Buf *out)
{
    char path[64], byte;
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    for (int i = 0; i < EXEC_LOOKS; i++) {
        if (read_proc(pid, "environ", out) < 0 || out->len > 0 || readlink(path, &byte, 1) < 0)
            return;
        poll(NULL, 0, 1);
    }
}

static bool is_marked(pid_t pid, const void *arg)
{
    const char *mark = arg;
    CLEANUP_BUF Buf b = BUF_INIT(ENVIRON_MAX);
    read_environ(pid, &b); /* entries end with NUL */
    Str rest = buf_str(&b);
    while (rest.len > 0) {
        if (str_eqz(str_cut(&rest, '\0'), mark))
            return true;
    }
    return false;
}

unsigned proc_kill_marked(const char *mark, unsigned looks)
{
    unsigned killed = 0;
    /* readdir hands out what it read of /proc a while ago: one that has since started another and ended is
       listed without its environment, and its child not at all. The child is in the next look. */
    for (unsigned quiet = 0; looks-- > 0 && quiet < QUIET_LOOKS;)
        quiet = kill_matching(is_marked, mark, &killed) > 0 ? 0 : quiet + 1;
    return killed;
}
