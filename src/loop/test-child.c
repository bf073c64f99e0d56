#include "test-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "base/buf.h"

typedef struct Run {
    Loop *loop;
    Child *child;
    Buf out;
    int fd; /* its standard output */
    FdWatch *watch;
    bool eof, exited;
    int status;
} Run;

static void exited(void *arg, int status)
{
    Run *r = arg;
    assert_false(r->exited);
    r->exited = true;
    r->status = status;
}

static void readable(void *arg, unsigned ready)
{
    Run *r = arg;
    char buf[4096];
    ssize_t n;
    while ((n = read(r->fd, buf, sizeof buf)) > 0)
        buf_add(&r->out, buf, (size_t)n);
    if (n < 0 && errno == EAGAIN)
        return;
    r->eof = true;
    r->watch = fd_watch_free(r->watch);
}

static int start(Run *r, ChildSpec *spec, Err *err)
{
    r->out = BUF_INIT(1 << 20);
    if (!spec->fd_out && !spec->pipe_out)
        spec->pipe_out = true;
    spec->fd_err = spec->fd_err ? spec->fd_err : 2;
    int rc = child_spawn(r->loop, spec, exited, r, &r->child, err);
    if (rc < 0)
        return rc;
    r->fd = child_fd(r->child, 1);
    assert_true(r->fd >= 0);
    r->watch = fd_watch_new(r->loop, r->fd, FD_READ, readable, r);
    return 0;
}

static void must_start(Run *r, ChildSpec *spec)
{
    Err err = {0};
    if (start(r, spec, &err) < 0)
        fail_msg("child_spawn: %s", err.msg);
}

static void finish(Run *r)
{
    PUMP_UNTIL(r->loop, r->eof && r->exited);
    r->child = child_free(r->child);
    close(r->fd);
}

static void run_done(Run *r)
{
    buf_done(&r->out);
    loop_free(r->loop);
}

static void sh(Run *r, ChildSpec spec, const char *script)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    spec.argv = argv;
    must_start(r, &spec);
}

static void test_child__status_and_output(void **state)
{
    Run r = {.loop = test_loop()};
    sh(&r, (ChildSpec){.fd_in = -1}, "echo hello; exit 7");
    assert_true(child_pid(r.child) > 0);
    assert_int_equal(child_fd(r.child, 1), -1); /* moved out already */
    finish(&r);
    assert_true(WIFEXITED(r.status));
    assert_int_equal(WEXITSTATUS(r.status), 7);
    assert_string_equal(r.out.data, "hello\n");
    run_done(&r);
}

static void test_child__reads_its_input_pipe(void **state)
{
    Run r = {.loop = test_loop()};
    sh(&r, (ChildSpec){.pipe_in = true}, "cat");
    int in = child_fd(r.child, 0);
    assert_int_equal(write(in, "abc", 3), 3);
    close(in);
    finish(&r);
    assert_string_equal(r.out.data, "abc");
    run_done(&r);
}

static void test_child__environment_and_directory(void **state)
{
    Run r = {.loop = test_loop()};
    const char *env[] = {"WORD=seen", NULL};
    sh(&r, (ChildSpec){.fd_in = -1, .envp = env, .cwd = "/usr"}, "echo $WORD; pwd");
    finish(&r);
    assert_string_equal(r.out.data, "seen\n/usr\n");
    run_done(&r);
}

static void test_child__no_such_program(void **state)
{
    Run r = {.loop = test_loop()};
    Err err = {0};
    const char *argv[] = {"no-such-program-here", NULL};
    ChildSpec spec = {.argv = argv, .fd_in = -1};
    assert_int_equal(start(&r, &spec, &err), -ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "no-such-program-here"));
    assert_non_null(strstr(err.msg, "No such file"));
    assert_null(r.child);
    run_done(&r);
}

static void test_child__file_that_is_no_program(void **state)
{
    Run r = {.loop = test_loop()};
    Err err = {0};
    const char *argv[] = {"/etc/passwd", NULL};
    ChildSpec spec = {.argv = argv, .fd_in = -1};
    assert_true(start(&r, &spec, &err) < 0);
    assert_non_null(strstr(err.msg, "Permission denied"));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left behind */
    run_done(&r);
}

static void test_child__no_such_directory(void **state)
{
    Run r = {.loop = test_loop()};
    Err err = {0};
    const char *argv[] = {"true", NULL};
    ChildSpec spec = {.argv = argv, .fd_in = -1, .cwd = "/nowhere/at/all"};
    assert_true(start(&r, &spec, &err) < 0);
    assert_non_null(strstr(err.msg, "directory /nowhere/at/all"));
    run_done(&r);
}

/* The grandchild holds the output pipe: its end is the pipe's end. */
static void test_child__signal_reaches_the_whole_group(void **state)
{
    Run r = {.loop = test_loop()};
    sh(&r, (ChildSpec){.fd_in = -1}, "sleep 1000 & echo up; wait");
    PUMP_UNTIL(r.loop, r.out.len > 0);
    child_signal(r.child, SIGKILL);
    finish(&r);
    assert_true(WIFSIGNALED(r.status));
    assert_int_equal(WTERMSIG(r.status), SIGKILL);
    run_done(&r);
}

static void test_child__signal_after_the_end_is_nothing(void **state)
{
    Run r = {.loop = test_loop()};
    sh(&r, (ChildSpec){.fd_in = -1}, "true");
    PUMP_UNTIL(r.loop, r.exited && r.eof);
    child_signal(r.child, SIGKILL);
    finish(&r);
    run_done(&r);
}

static void test_child__sees_no_foreign_descriptor(void **state)
{
    Run r = {.loop = test_loop()};
    int leaky[2];
    assert_int_equal(pipe(leaky), 0); /* without O_CLOEXEC */
    sh(&r, (ChildSpec){.fd_in = -1}, "exec ls /proc/self/fd");
    finish(&r);
    assert_string_equal(r.out.data, "0\n1\n2\n3\n"); /* 3 is the directory itself */
    close(leaky[0]), close(leaky[1]);
    run_done(&r);
}

static void test_child__passed_descriptor_is_number_three(void **state)
{
    Run r = {.loop = test_loop()};
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    sh(&r, (ChildSpec){.fd_in = -1, .pass_fd = ends[0]}, "cat <&3");
    assert_int_equal(write(ends[1], "three", 5), 5);
    close(ends[0]), close(ends[1]);
    finish(&r);
    assert_string_equal(r.out.data, "three");
    run_done(&r);
}

static void test_child__signal_state_is_fresh(void **state)
{
    Run r = {.loop = test_loop()};
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &old);
    sh(&r, (ChildSpec){.fd_in = -1}, "exec grep -E 'Sig(Blk|Ign)' /proc/self/status");
    sigprocmask(SIG_SETMASK, &old, NULL);
    finish(&r);
    /* 32 and 33 are glibc's own: its posix_spawn (in make, for one) leaves them ignored, and nobody can
     * change them. */
    const uint64_t internal = (uint64_t)3 << 31;
    const char *blocked = strstr(r.out.data, "SigBlk:\t"), *ignored = strstr(r.out.data, "SigIgn:\t");
    assert_true(blocked && ignored);
    assert_int_equal(strtoull(blocked + 8, NULL, 16) & ~internal, 0);
    assert_int_equal(strtoull(ignored + 8, NULL, 16) & ~internal, 0);
    run_done(&r);
}

static void check_session(bool new_session)
{
    Run r = {.loop = test_loop()};
    sh(&r, (ChildSpec){.pipe_in = true, .new_session = new_session}, "echo up; read line");
    PUMP_UNTIL(r.loop, r.out.len > 0);
    pid_t pid = child_pid(r.child);
    assert_int_equal(getpgid(pid), pid);
    assert_int_equal(getsid(pid) == pid, new_session);
    close(child_fd(r.child, 0));
    finish(&r);
    run_done(&r);
}

static void test_child__own_group_or_session(void **state)
{
    check_session(false);
    check_session(true);
}

static void test_child__forgotten_is_reaped(void **state)
{
    Run r = {.loop = test_loop()};
    sh(&r, (ChildSpec){.pipe_in = true}, "read line");
    pid_t pid = child_pid(r.child);
    r.child = child_free(r.child); /* closes its input */
    PUMP_UNTIL(r.loop, kill(pid, 0) < 0 && errno == ESRCH);
    assert_false(r.exited);
    PUMP_UNTIL(r.loop, r.eof);
    close(r.fd);
    run_done(&r);
}

static void test_child__forgotten_outlives_the_loop(void **state)
{
    Run r = {.loop = test_loop()};
    int in[2];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    sh(&r, (ChildSpec){.fd_in = in[0]}, "read line");
    pid_t pid = child_pid(r.child);
    r.child = child_free(r.child);
    fd_watch_free(r.watch);
    run_done(&r);
    close(r.fd);
    assert_int_equal(kill(pid, 0), 0);
    close(in[0]), close(in[1]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void *spawn_and_leave(void *arg)
{
    int *ends = arg;
    Loop *l = test_loop();
    const char *argv[] = {"sleep", "1000", NULL};
    ChildSpec spec = {.argv = argv, .fd_in = -1, .fd_out = ends[1], .fd_err = -1, .die_with_parent = true};
    Child *c = NULL;
    assert_int_equal(child_spawn(l, &spec, exited, NULL, &c, NULL), 0);
    close(ends[1]);
    child_free(c);
    loop_free(l);
    return NULL;
}

static void test_child__dies_with_the_thread_that_spawned_it(void **state)
{
    int ends[2];
    char c;
    pthread_t t;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    alarm(120);
    pthread_create(&t, NULL, spawn_and_leave, ends);
    pthread_join(t, NULL);
    assert_int_equal(read(ends[0], &c, 1), 0); /* end of file: the child is gone */
    alarm(0);
    close(ends[0]);
    while (waitpid(-1, NULL, 0) > 0)
        ;
}

int test_child_group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_child__status_and_output),
        cmocka_unit_test(test_child__reads_its_input_pipe),
        cmocka_unit_test(test_child__environment_and_directory),
        cmocka_unit_test(test_child__no_such_program),
        cmocka_unit_test(test_child__file_that_is_no_program),
        cmocka_unit_test(test_child__no_such_directory),
        cmocka_unit_test(test_child__signal_reaches_the_whole_group),
        cmocka_unit_test(test_child__signal_after_the_end_is_nothing),
        cmocka_unit_test(test_child__sees_no_foreign_descriptor),
        cmocka_unit_test(test_child__passed_descriptor_is_number_three),
        cmocka_unit_test(test_child__signal_state_is_fresh),
        cmocka_unit_test(test_child__own_group_or_session),
        cmocka_unit_test(test_child__forgotten_is_reaped),
        cmocka_unit_test(test_child__forgotten_outlives_the_loop),
        cmocka_unit_test(test_child__dies_with_the_thread_that_spawned_it),
    };
    return cmocka_run_group_tests_name("child", tests, NULL, NULL);
}
