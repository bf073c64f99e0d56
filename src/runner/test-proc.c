/* Agent processes, and the shell bridge on real commands. */
#include "test-internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include "base/file.h"
#include "bridge.h"
#include "descendants.h"
#include "proc.h"

typedef struct Run {
    Loop *loop;
    Proc *proc;
    Buf out, err;
    bool exited;
    int status;
} Run;

static void on_out(void *arg, Str bytes)
{
    Run *r = arg;
    buf_adds(&r->out, bytes);
}

static void on_err(void *arg, Str bytes)
{
    Run *r = arg;
    buf_adds(&r->err, bytes);
}

static void on_exit_status(void *arg, int status)
{
    Run *r = arg;
    r->exited = true;
    r->status = status;
    r->proc = proc_free(r->proc);
}

static void run_start(Run *r, const char *command, bool with_stdin)
{
    static const ProcOps ops = {on_out, on_err, on_exit_status};
    const char *argv[] = {"/bin/sh", "-c", command, NULL};
    ProcSpec spec = {.argv = argv, .with_stdin = with_stdin};

    *r = (Run){0};
    assert_int_equal(loop_new(&r->loop, NULL), 0);
    buf_init(&r->out, 64 << 20);
    buf_init(&r->err, 1 << 20);
    assert_int_equal(proc_start(r->loop, &spec, &ops, r, &r->proc, NULL), 0);
}

static void run_done(Run *r)
{
    proc_free(r->proc);
    loop_free(r->loop);
    buf_done(&r->out);
    buf_done(&r->err);
}

static void test_proc__output_is_complete_when_the_exit_is_told(void **state)
{
    Run r;

    run_start(&r, "head -c 3000000 /dev/zero; echo oops >&2; exit 3", false);
    PUMP_UNTIL(r.loop, r.exited);
    assert_int_equal(r.out.len, 3000000);
    assert_string_equal(r.err.data, "oops\n");
    assert_int_equal(WEXITSTATUS(r.status), 3);
    run_done(&r);
}

static void test_proc__input_goes_in_and_ends(void **state)
{
    CLEANUP_BUF Buf big = BUF_INIT(2 << 20);
    Run r;

    while (big.len < 1 << 20)
        buf_addz(&big, "0123456789abcdef");
    run_start(&r, "cat", true);
    proc_write(r.proc, buf_str(&big)); /* more than a pipe holds */
    proc_write(r.proc, STR("end"));
    proc_close_stdin(r.proc);
    proc_write(r.proc, STR("too late"));
    PUMP_UNTIL(r.loop, r.exited);
    assert_int_equal(r.out.len, big.len + 3);
    run_done(&r);
}

static void test_proc__held_back_it_has_to_wait(void **state)
{
    Run r;

    run_start(&r, "head -c 1000000 /dev/zero; exit 0", false);
    proc_hold(r.proc, true);
    pid_t pid = proc_pid(r.proc);
    for (int i = 0; i < 20; i++)
        loop_run_once(r.loop, false);
    assert_int_equal(r.out.len, 0);
    assert_int_equal(kill(pid, 0), 0);
    proc_hold(r.proc, false);
    PUMP_UNTIL(r.loop, r.exited);
    assert_int_equal(r.out.len, 1000000);
    run_done(&r);
}

static pid_t printed_pid(const Buf *b)
{
    int64_t pid = 0;

    assert_int_equal(str_to_i64(str_trim(buf_str(b)), &pid), 0);
    return (pid_t)pid;
}

static bool is_gone(pid_t pid)
{
    return kill(pid, 0) < 0 && errno == ESRCH;
}

/* A background process keeps the pipe open: it is not waited for, it ends. */
static void test_proc__what_it_leaves_in_its_group_is_killed(void **state)
{
    Run r;

    run_start(&r, "sleep 1000 & echo $!", false);
    PUMP_UNTIL(r.loop, r.exited);
    assert_true(is_gone(printed_pid(&r.out)));
    run_done(&r);
}

static void test_descendants__sessions_of_their_own_do_not_save_them(void **state)
{
    Run r;

    run_start(&r, "setsid sh -c 'setsid sleep 1000 & echo $!; exec sleep 1000' & sleep 0.01; wait $! & true",
              false);
    PUMP_UNTIL(r.loop, r.exited && r.out.len > 0);
    pid_t pid = printed_pid(&r.out);
    assert_false(is_gone(pid)); /* it left the group: until the session ends it may live */
    descendants_kill(0, 0);
    assert_true(is_gone(pid));
    run_done(&r);
}

static void test_proc__words_for_an_end(void **state)
{
    char text[64], code[32];

    proc_status_text(3 << 8, text);
    proc_status_code(3 << 8, code);
    assert_string_equal(text, "exit status 3");
    assert_string_equal(code, "exit_3");
    proc_status_text(SIGKILL, text);
    proc_status_code(SIGKILL, code);
    assert_string_equal(text, "signal 9 (Killed)");
    assert_string_equal(code, "signal_9");
}

/* ---- the shell bridge ---- */

typedef struct World {
    Recorder r;
    Loop *loop;
    RunnerConfig config;
    Bridge *bridge;
    char dir[32];
    bool ended, stopped;
    char error[128], code[32];
    json_t *result;
} World;

static void turn_end(void *arg, const TurnEnd *end)
{
    World *w = arg;

    w->ended = true;
    snprintf(w->error, sizeof(w->error), "%s", end->error ? end->error : "");
    snprintf(w->code, sizeof(w->code), "%s", end->code ? end->code : "");
    json_decref(w->result);
    w->result = end->result ? json_deep_copy(end->result) : NULL;
    if (end->error)
        emit_run_error(w->r.emitter, end->error, end->code);
    else
        emit_run_finished(w->r.emitter, end->result);
}

static void no_credentials(void *arg, ChildEnv *env)
{
}

static void on_stopped(void *arg)
{
    ((World *)arg)->stopped = true;
}

static int shell_setup(void **state)
{
    World *w = xnew(World);
    Err err;

    recorder_init(&w->r);
    assert_int_equal(loop_new(&w->loop, NULL), 0);
    snprintf(w->dir, sizeof(w->dir), "/tmp/test-runner-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->config.workspace = w->dir;
    BridgeHost host = {.loop = w->loop,
                       .emitter = w->r.emitter,
                       .config = &w->config,
                       .on_turn_end = turn_end,
                       .on_stopped = on_stopped,
                       .credentials = no_credentials,
                       .arg = w};
    assert_int_equal(bridge_shell.create(&host, &w->bridge, &err), 0);
    *state = w;
    return 0;
}

static int shell_teardown(void **state)
{
    World *w = *state;

    bridge_shell.destroy(w->bridge);
    assert_string_equal(w->r.flaw, "");
    recorder_done(&w->r);
    loop_free(w->loop);
    json_decref(w->result);
    assert_int_equal(dir_remove_tree(w->dir, NULL), 0);
    free(w);
    return 0;
}

static void command(World *w, const char *text)
{
    w->ended = false;
    recorder_clear(&w->r);
    recorder_begin(&w->r, text);
    bridge_shell.send(w->bridge, text);
}

static void test_shell__command_in_the_workspace(void **state)
{
    World *w = *state;

    command(w, "pwd; echo made > file");
    PUMP_UNTIL(w->loop, w->ended);
    assert_string_equal(w->error, "");
    assert_int_equal(json_get_int(w->result, "exit_status", -1), 0);
    assert_memory_equal(w->r.text.data, w->dir, strlen(w->dir));
    command(w, "cat file");
    PUMP_UNTIL(w->loop, w->ended);
    assert_string_equal(w->r.text.data, "made\n");
    assert_non_null(strstr(w->r.records.data, "assistant made\n"));
}

static void test_shell__failures_have_a_code(void **state)
{
    World *w = *state;

    command(w, "echo before; exit 3");
    PUMP_UNTIL(w->loop, w->ended);
    assert_string_equal(w->code, "exit_3");
    assert_string_equal(w->error, "the command ended with exit status 3");
    assert_non_null(strstr(w->r.records.data, "assistant before\n"));
    command(w, "kill -9 $$");
    PUMP_UNTIL(w->loop, w->ended);
    assert_string_equal(w->code, "signal_9");
    command(w, "no-such-program-anywhere");
    PUMP_UNTIL(w->loop, w->ended);
    assert_string_equal(w->code, "exit_127");
    assert_int_equal(strncmp(w->r.text.data, "[stderr] ", 9), 0);
}

static void test_shell__lines_of_standard_error_are_marked(void **state)
{
    World *w = *state;

    command(w, "printf 'one\\ntwo\\n' >&2");
    PUMP_UNTIL(w->loop, w->ended);
    assert_string_equal(w->r.text.data, "[stderr] one\n[stderr] two\n");
}

static void test_shell__any_bytes_become_text(void **state)
{
    World *w = *state;

    command(w, "printf '\\303\\244 \\377 \\000 \\303'");
    PUMP_UNTIL(w->loop, w->ended);
    assert_string_equal(w->r.text.data, "\xc3\xa4 \xef\xbf\xbd \xef\xbf\xbd \xef\xbf\xbd");
}

static void test_shell__too_much_output_is_cut_and_said(void **state)
{
    World *w = *state;

    command(w, "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo END");
    PUMP_UNTIL(w->loop, w->ended);
    assert_string_equal(w->error, "");
    assert_true(w->r.text.len < 1100000);
    assert_non_null(strstr(w->r.text.data, "\n... output truncated: 1951429 more bytes\n"));
    assert_null(strstr(w->r.text.data, "END"));
    command(w, "echo again"); /* the limit is one command's */
    PUMP_UNTIL(w->loop, w->ended);
    assert_string_equal(w->r.text.data, "again\n");
}

static void test_shell__interrupt_ends_it(void **state)
{
    World *w = *state;

    command(w, "echo started; sleep 1000");
    PUMP_UNTIL(w->loop, w->r.text.len > 0);
    bridge_shell.interrupt(w->bridge);
    PUMP_UNTIL(w->loop, w->ended);
    assert_true(json_get_bool(w->result, "interrupted", false));
    assert_string_equal(w->error, "");
    /* One that does not listen to SIGTERM. */
    command(w, "trap '' TERM; echo started; while :; do sleep 1000; done");
    PUMP_UNTIL(w->loop, w->r.text.len > 0);
    bridge_shell.interrupt(w->bridge);
    bridge_shell.interrupt(w->bridge); /* the second time means it */
    PUMP_UNTIL(w->loop, w->ended);
    assert_true(json_get_bool(w->result, "interrupted", false));
}

static void test_shell__stop_ends_what_runs(void **state)
{
    World *w = *state;

    command(w, "sleep 1000");
    bridge_shell.stop(w->bridge);
    PUMP_UNTIL(w->loop, w->stopped);
    assert_true(w->ended);
    w->stopped = false;
    bridge_shell.stop(w->bridge); /* nothing runs */
    assert_false(w->stopped);
    PUMP_UNTIL(w->loop, w->stopped);
}

static void test_shell__a_workspace_that_is_gone_fails_the_turn(void **state)
{
    World *w = *state;

    w->config.workspace = (char[]){"/nowhere/at/all"};
    command(w, "true");
    assert_true(w->ended);
    assert_string_equal(w->code, "start_failed");
    w->config.workspace = w->dir;
}

int run_proc_tests(void)
{
    descendants_adopt();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proc__output_is_complete_when_the_exit_is_told),
        cmocka_unit_test(test_proc__input_goes_in_and_ends),
        cmocka_unit_test(test_proc__held_back_it_has_to_wait),
        cmocka_unit_test(test_proc__what_it_leaves_in_its_group_is_killed),
        cmocka_unit_test(test_descendants__sessions_of_their_own_do_not_save_them),
        cmocka_unit_test(test_proc__words_for_an_end),
        cmocka_unit_test_setup_teardown(test_shell__command_in_the_workspace, shell_setup, shell_teardown),
        cmocka_unit_test_setup_teardown(test_shell__failures_have_a_code, shell_setup, shell_teardown),
        cmocka_unit_test_setup_teardown(test_shell__lines_of_standard_error_are_marked, shell_setup,
                                        shell_teardown),
        cmocka_unit_test_setup_teardown(test_shell__any_bytes_become_text, shell_setup, shell_teardown),
        cmocka_unit_test_setup_teardown(test_shell__too_much_output_is_cut_and_said, shell_setup,
                                        shell_teardown),
        cmocka_unit_test_setup_teardown(test_shell__interrupt_ends_it, shell_setup, shell_teardown),
        cmocka_unit_test_setup_teardown(test_shell__stop_ends_what_runs, shell_setup, shell_teardown),
        cmocka_unit_test_setup_teardown(test_shell__a_workspace_that_is_gone_fails_the_turn, shell_setup,
                                        shell_teardown),
    };
    return cmocka_run_group_tests_name("proc", tests, NULL, NULL);
}
