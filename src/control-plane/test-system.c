/* What touches the system in small ways: command lines, ports, processes, control groups, directories. */
#include "test-internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "config.h"
#include "proc.h"
#include "process-cgroup.h"
#include "process-dir.h"
#include "process-env.h"
#include "session-env.h"
#include "process-port.h"

typedef struct Place {
    char dir[64];
} Place;

static void place_init(Place *p)
{
    snprintf(p->dir, sizeof(p->dir), "/tmp/cplane-system-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
}

static void place_done(Place *p)
{
    dir_remove_tree(p->dir, NULL);
}
#define CLEANUP_PLACE CLEANUP(place_done)

static char *in(const Place *p, const char *name)
{
    return path_join(p->dir, name);
}

static void put(const Place *p, const char *name, const char *text)
{
    CLEANUP_FREE char *path = in(p, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(dir_make(path, 0700, NULL), 0);
    *slash = '/';
    assert_int_equal(file_write_atomic(path, str_from(text), 0600, NULL), 0);
}

static void check_file(const Place *p, const char *name, const char *want)
{
    CLEANUP_FREE char *path = in(p, name);
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    assert_int_equal(file_read(path, &b, NULL), 0);
    assert_string_equal(b.data ? b.data : "", want);
}

/* ---- command lines ---- */

static void test_command__is_split_at_blanks_outside_quotes(void **state)
{
    static const struct {
        const char *text;
        const char *words[5];
    } cases[] = {
        {"ambient-runner", {"ambient-runner"}},         {"  a  b\tc ", {"a", "b", "c"}},
        {"'a b' \"c d\" e\\ f", {"a b", "c d", "e f"}}, {"a'b'\"c\"", {"abc"}},
        {"'a\\b' \"a\\\"b\"", {"a\\b", "a\"b"}},        {"'' \"\"", {"", ""}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        StrVec v = {0};
        size_t n = 0;
        assert_int_equal(command_split(cases[i].text, &v, NULL), 0);
        for (; cases[i].words[n]; n++)
            assert_string_equal(v.ptr[n], cases[i].words[n]);
        assert_int_equal(v.len, n);
        strvec_done(&v);
    }
}

static void test_command__open_quotes_and_nothing_are_refused(void **state)
{
    static const char *const texts[] = {"", "   ", "'a", "a \"b", "a 'b\""};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        StrVec v = {0};
        assert_int_equal(command_split(texts[i], &v, NULL), -ERR_INVALID);
        strvec_done(&v);
    }
}

/* ---- ports ---- */

static void test_ports__ranges(void **state)
{
    static const struct {
        const char *text;
        int rc;
        int64_t first, last;
    } cases[] = {
        {"9100-9199", 0, 9100, 9199}, {"9100", 0, 9100, 9100},         {"0", 0, 0, 0},
        {"", -ERR_INVALID, 0, 0},     {"9-", -ERR_INVALID, 0, 0},      {"2-1", -ERR_INVALID, 0, 0},
        {"0-5", -ERR_INVALID, 0, 0},  {"1-65536", -ERR_INVALID, 0, 0}, {"a-b", -ERR_INVALID, 0, 0},
        {"-5-6", -ERR_INVALID, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        PortRange r = {0};
        assert_int_equal(port_range_parse(cases[i].text, &r, NULL), cases[i].rc);
        assert_int_equal(r.first, cases[i].first);
        assert_int_equal(r.last, cases[i].last);
    }
}

static void test_ports__a_taken_one_is_passed_over_and_none_is_told(void **state)
{
    const PortRange any = {0, 0};
    int64_t port, again;
    CLEANUP_FD int fd = -1;
    CLEANUP_FD int other = -1;
    assert_int_equal(port_listen(&any, &port, &fd, NULL), 0);
    const PortRange one = {port, port};
    Err err = {0};
    assert_int_equal(port_listen(&one, &again, &other, &err), -ERR_RATE_LIMITED);
    assert_int_equal(other, -1);
}

/* ---- processes ---- */

static pid_t child_that_waits(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            pause();
    }
    return pid;
}

static void test_proc__a_process_is_its_number_and_its_start(void **state)
{
    pid_t pid = child_that_waits();
    int64_t ticks = proc_start_ticks(pid);
    assert_true(ticks >= 0);
    assert_int_equal(proc_open(pid, ticks + 1), -1);
    assert_int_equal(proc_open(-1, ticks), -1);
    CLEANUP_FD int fd = proc_open(pid, ticks);
    assert_true(fd >= 0);
    assert_true(proc_age(ticks) < 60 * USEC_PER_SEC);
    assert_int_equal(proc_signal(fd, SIGKILL), 0);
    siginfo_t si;
    assert_int_equal(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0);
    assert_int_equal(proc_start_ticks(pid), -1); /* a zombie is gone */
    waitpid(pid, NULL, 0);
    assert_int_equal(proc_signal(fd, SIGKILL), -ESRCH);
}

/* ---- control groups ---- */

static void test_cgroup__numbers_of_processors(void **state)
{
    int64_t n = 0;
    assert_int_equal(cgroups_parse_cpu("1.5", &n, NULL), 0);
    assert_int_equal(n, 1500);
    static const char *const bad[] = {"", "x", "0", "-1", "nan", "1e9", "1 2"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(cgroups_parse_cpu(bad[i], &n, NULL), -ERR_USAGE);
}

/* A tree that looks like /proc and a delegated group; only the kernel's answers are missing. */
static void fake_cgroup(const Place *p, const char *controllers)
{
    char line[256];
    snprintf(line, sizeof(line),
             "24 1 0:22 / /proc rw - proc proc rw\n30 1 0:26 / %s/cg rw - cgroup2 none rw\n", p->dir);
    put(p, "proc/self/mountinfo", line);
    put(p, "proc/self/cgroup", "1:cpu:/x\n0::/user/unit\n");
    put(p, "cg/user/unit/cgroup.controllers", controllers);
    put(p, "cg/user/unit/cgroup.subtree_control", "");
    put(p, "cg/user/unit/cgroup.procs", "");
    put(p, "cg/user/unit/ambient-control-plane/cgroup.procs", "");
}

static void test_cgroup__limits_are_written(void **state)
{
    CLEANUP_PLACE Place p;
    place_init(&p);
    fake_cgroup(&p, "cpu memory pids\n");
    CLEANUP_FREE char *proc = in(&p, "proc");
    CLEANUP(cgroups_close) Cgroups g;
    cgroups_open(&g, proc, 1 << 20, 1500);
    assert_non_null(g.base);
    char pid[32];
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    check_file(&p, "cg/user/unit/ambient-control-plane/cgroup.procs", pid);
    CLEANUP_FREE char *path = cgroups_path(&g, "sid", 3);
    put(&p, "cg/user/unit/ambient-sid-3/memory.max", "");
    put(&p, "cg/user/unit/ambient-sid-3/cpu.max", "");
    put(&p, "cg/user/unit/ambient-sid-3/cgroup.kill", "");
    assert_int_equal(cgroups_make(&g, path, NULL), 0);
    check_file(&p, "cg/user/unit/ambient-sid-3/memory.max", "1048576");
    check_file(&p, "cg/user/unit/ambient-sid-3/cpu.max", "150000 100000");
    cgroup_end(path);
    check_file(&p, "cg/user/unit/ambient-sid-3/cgroup.kill", "1");
}

static void test_cgroup__what_is_not_delegated_is_not_used(void **state)
{
    CLEANUP_PLACE Place p;
    place_init(&p);
    fake_cgroup(&p, "pids\n");
    CLEANUP_FREE char *proc = in(&p, "proc");
    CLEANUP_FREE char *nowhere = in(&p, "nowhere");
    Cgroups g;
    cgroups_open(&g, proc, 1 << 20, 0);
    assert_null(g.base);
    cgroups_open(&g, nowhere, 1 << 20, 0);
    assert_null(g.base);
    cgroups_open(&g, proc, 0, 0); /* no limit is wanted: nothing is looked at */
    assert_null(g.base);
    CLEANUP_FREE char *path = cgroups_path(&g, "sid", 0);
    assert_string_equal(path, "");
    assert_int_equal(cgroups_make(&g, path, NULL), 0);
    cgroup_end(path);
}

/* ---- directories ---- */

static void test_dirs__a_link_in_place_of_a_session_is_not_followed(void **state)
{
    CLEANUP_PLACE Place p;
    place_init(&p);
    CLEANUP_FREE char *root = in(&p, "root");
    CLEANUP_FREE char *elsewhere = in(&p, "elsewhere");
    CLEANUP_FREE char *link = in(&p, "root/session");
    CLEANUP(dirs_close) Dirs d;
    assert_int_equal(dirs_open(&d, root, -1, -1, NULL), 0);
    put(&p, "elsewhere/keep", "x");
    assert_int_equal(symlink(elsewhere, link), 0);
    assert_true(dirs_make(&d, "session", NULL) < 0);
    dirs_unlink(&d, "session", "keep");
    check_file(&p, "elsewhere/keep", "x");
    assert_int_equal(dirs_remove(&d, "session", NULL), 0);
    assert_false(file_exists(link));
    check_file(&p, "elsewhere/keep", "x");
}

static void collect(void *arg, const char *id)
{
    strvec_add(arg, id);
}

static void test_dirs__only_sessions_are_listed(void **state)
{
    CLEANUP_PLACE Place p;
    place_init(&p);
    CLEANUP_FREE char *root = in(&p, "root");
    CLEANUP(dirs_close) Dirs d;
    assert_int_equal(dirs_open(&d, root, -1, -1, NULL), 0);
    assert_int_equal(dirs_make(&d, "one", NULL), 0);
    put(&p, "root/a file", "");
    put(&p, "root/.keys/private.pem", "");
    StrVec v = {0};
    assert_int_equal(dirs_each(&d, collect, &v, NULL), 0);
    assert_int_equal(v.len, 1);
    assert_string_equal(v.ptr[0], "one");
    strvec_done(&v);
    assert_true(dirs_made_at(&d, "one").us > 0);
    assert_int_equal(dirs_made_at(&d, "two").us, 0);
}

/* ---- variables ---- */

static void test_env__what_a_session_may_set(void **state)
{
    static const char *const good[] = {"MINE", "RUNNER_TYPE", "CLAUDE_MODEL", "_x", "GITHUB_TOKEN"};
    static const char *const bad[] = {"",
                                      "1A",
                                      "A-B",
                                      "A=B",
                                      "LD_PRELOAD",
                                      "LD_LIBRARY_PATH",
                                      "PATH",
                                      "HOME",
                                      "IFS",
                                      "BASH_ENV",
                                      "NODE_OPTIONS",
                                      "GIT_CONFIG_COUNT",
                                      "AMBIENT_GRPC_URL",
                                      "AGUI_TOKEN",
                                      "BOT_TOKEN",
                                      "BOT_TOKEN_FILE",
                                      "SESSION_ID",
                                      "LISTEN_FDS",
                                      "OIDC_CLIENT_ID"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(runner_env_allowed(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(runner_env_allowed(bad[i]));
}

int run_system_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command__is_split_at_blanks_outside_quotes),
        cmocka_unit_test(test_command__open_quotes_and_nothing_are_refused),
        cmocka_unit_test(test_ports__ranges),
        cmocka_unit_test(test_ports__a_taken_one_is_passed_over_and_none_is_told),
        cmocka_unit_test(test_proc__a_process_is_its_number_and_its_start),
        cmocka_unit_test(test_cgroup__numbers_of_processors),
        cmocka_unit_test(test_cgroup__limits_are_written),
        cmocka_unit_test(test_cgroup__what_is_not_delegated_is_not_used),
        cmocka_unit_test(test_dirs__a_link_in_place_of_a_session_is_not_followed),
        cmocka_unit_test(test_dirs__only_sessions_are_listed),
        cmocka_unit_test(test_env__what_a_session_may_set),
    };
    return cmocka_run_group_tests_name("system", tests, NULL, NULL);
}
