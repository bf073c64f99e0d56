/* The process runtime with real shims and real runners. */
#include "test-internal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "proc.h"
#include "process-internal.h"
#include "run-state.h"
#include "runtime-process.h"

#define SID "2abcDEFghiJKLmnoPQRstuVWXyz"
#define PATIENCE (60 * USEC_PER_SEC)

typedef struct Rig {
    char dir[64], root[96];
    Loop *loop;
    HttpClient *http;
    TokenSource *token;
    Config config;
    ProcessRuntime *p;
    Runtime *rt;
    Timer *guard;
    bool late;
    unsigned changes;
    bool done;
    Err err; /* of the last operation */
} Rig;

static void on_guard(void *arg)
{
    ((Rig *)arg)->late = true;
}

static void on_change(void *arg, const char *id)
{
    ((Rig *)arg)->changes++;
}

static void rig_open(Rig *r)
{
    const ProcessOptions o = {.config = &r->config, .http = r->http, .program = "/proc/self/exe"};
    Err err = {0};
    if (process_runtime_new(r->loop, &o, &r->p, &err) < 0)
        fail_msg("%s", err.msg);
    r->rt = process_runtime(r->p);
    r->rt->on_change = on_change;
    r->rt->on_change_arg = r;
}

static void rig_config(Rig *r, const char *command, const char *const *more)
{
    char root[128], runner[512], token[96];
    snprintf(root, sizeof(root), "--root=%s", r->root);
    snprintf(runner, sizeof(runner), "--runner=%s", command);
    snprintf(token, sizeof(token), "--token-file=%s/token", r->dir);
    char *argv[16] = {(char[]){"test"}, root, runner, token, (char[]){"--ports=0"}};
    int argc = 5;
    for (; more && *more; more++)
        argv[argc++] = xstrdup(*more);
    Err err = {0};
    if (config_load(&r->config, argc, argv, &err) < 0)
        fail_msg("%s", err.msg);
    while (argc > 5)
        free(argv[--argc]);
}

static void rig_init(Rig *r, const char *command, const char *const *more)
{
    *r = (Rig){0};
    snprintf(r->dir, sizeof(r->dir), "/tmp/cplane-test-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    snprintf(r->root, sizeof(r->root), "%s/root", r->dir);
    char path[128];
    snprintf(path, sizeof(path), "%s/token", r->dir);
    assert_int_equal(file_write_atomic(path, STR("platform-secret-token"), 0600, NULL), 0);
    rig_config(r, command, more);
    assert_int_equal(loop_new(&r->loop, NULL), 0);
    const HttpClientOptions ho = {.user_agent = "test"};
    assert_int_equal(http_client_new(r->loop, &ho, &r->http, NULL), 0);
    r->token = token_source_static(STR("bearer-of-runners"));
    r->guard = timer_new(r->loop, on_guard, r);
    rig_open(r);
}

/* What a test started must not outlive it, also when it has failed. */
static void kill_all(Rig *r)
{
    CLEANUP(dirs_close) Dirs d;
    if (dirs_open(&d, r->root, -1, -1, NULL) < 0)
        return;
    Look look;
    look_now(&d, SID, &look);
    if (look.what == LOOK_LIVE) {
        struct pollfd gone = {.fd = look.pidfd, .events = POLLIN};
        proc_signal(look.pidfd, SIGUSR1);
        poll(&gone, 1, (int)(PATIENCE / USEC_PER_MSEC));
        closep(&look.pidfd);
    }
}

static void rig_done(Rig *r)
{
    process_runtime_free(r->p);
    kill_all(r);
    timer_free(r->guard);
    token_source_free(r->token);
    http_client_free(r->http);
    loop_free(r->loop);
    config_free(&r->config);
    dir_remove_tree(r->dir, NULL);
}
#define CLEANUP_RIG CLEANUP(rig_done)

#define WAIT_FOR(r, cond)                                                                                    \
    do {                                                                                                     \
        (r)->late = false;                                                                                   \
        timer_arm((r)->guard, PATIENCE);                                                                     \
        while (!(cond)) {                                                                                    \
            loop_run_once((r)->loop, true);                                                                  \
            if ((r)->late)                                                                                   \
                fail_msg("never: %s", #cond);                                                                \
        }                                                                                                    \
        timer_cancel((r)->guard);                                                                            \
    } while (0)

static void on_done(void *arg, const Err *err)
{
    Rig *r = arg;
    r->done = true;
    r->err = err ? *err : (Err){0};
}

/* A watched file is not an event of the loop: a timer wakes it. */
static void on_tick(void *arg)
{
    timer_arm(*(Timer **)arg, 5 * USEC_PER_MSEC);
}

static void wait_for_file(Rig *r, const char *path)
{
    Timer *tick = timer_new(r->loop, on_tick, &tick);
    timer_arm(tick, 0);
    WAIT_FOR(r, file_exists(path));
    timer_free(tick);
}

static RtState state_of(Rig *r)
{
    RtObserved o;
    r->rt->ops->observe(r->rt, STR(SID), &o);
    return o.state;
}

static RtObserved seen(Rig *r)
{
    RtObserved o;
    r->rt->ops->observe(r->rt, STR(SID), &o);
    return o;
}

static Obj *make_session(void)
{
    Obj *o = obj_new(&kind_session);
    obj_set_str(o, FIELD_ID, STR(SID));
    obj_set_str(o, SESSION_NAME, STR("a session"));
    obj_set_str(o, SESSION_PROJECT_ID, STR("demo"));
    return o;
}

static void ensure_with(Rig *r, const Obj *session, int64_t run, Str prompt)
{
    const RtSpec spec = {
        .session = session, .run = run, .initial_prompt = prompt, .token = token_source_get(r->token)};
    r->done = false;
    r->rt->ops->ensure(r->rt, &spec, on_done, r);
    assert_false(r->done); /* nothing completes before the call returns */
    WAIT_FOR(r, r->done);
}

static void ensure(Rig *r, int64_t run)
{
    CLEANUP(obj_freep) Obj *o = make_session();
    ensure_with(r, o, run, STR_NULL);
}

static void ensure_ok(Rig *r, int64_t run)
{
    ensure(r, run);
    if (r->err.code)
        fail_msg("%s", r->err.msg);
}

static void op(Rig *r, RtOp *(*f)(Runtime *, Str, RtDone, void *))
{
    r->done = false;
    f(r->rt, STR(SID), on_done, r);
    WAIT_FOR(r, r->done);
    assert_int_equal(r->err.code, ERR_OK);
}

static void stop(Rig *r, RtStop why)
{
    r->done = false;
    r->rt->ops->stop(r->rt, STR(SID), why, on_done, r);
    WAIT_FOR(r, r->done);
    assert_int_equal(r->err.code, ERR_OK);
}

/* As if the control plane were killed and started again. */
static void restart(Rig *r)
{
    process_runtime_free(r->p);
    rig_open(r);
}

static const char *in_session(Rig *r, const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/" SID "/%s", r->root, name);
    return path;
}

static void read_state(Rig *r, RunState *ret)
{
    char dir[192];
    snprintf(dir, sizeof(dir), "%s/" SID, r->root);
    assert_int_equal(run_state_read(dir, ret, NULL), 0);
}

static bool file_contains(const char *path, const char *text)
{
    CLEANUP_BUF Buf b = BUF_INIT(4 << 20);
    return file_read(path, &b, NULL) == 0 && str_find(buf_str(&b), str_from(text)) >= 0;
}

static void wait_for_text(Rig *r, const char *path, const char *text)
{
    Timer *tick = timer_new(r->loop, on_tick, &tick);
    timer_arm(tick, 0);
    WAIT_FOR(r, file_contains(path, text));
    timer_free(tick);
}

static char runner_path[256];

static const char *runner(const char *arguments)
{
    static char command[512];
    snprintf(command, sizeof(command), "%s %s", runner_path, arguments);
    return command;
}

/* No process has the run's cookie any more. Kills what is left, so that a failing test leaves nothing either.
 */
static void assert_nothing_left(const RunState *st)
{
    char mark[128];
    snprintf(mark, sizeof(mark), RUN_COOKIE_NAME "=%s", st->cookie);
    assert_int_equal(proc_kill_marked(mark, 20), 0);
    assert_int_equal(proc_start_ticks(st->shim_pid) == st->shim_ticks, 0);
}

/* ---- start and end ---- */

static void test_process__a_runner_starts_and_answers(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, runner(""), (const char *[]){"--listen-fds=true", NULL});
    ensure_ok(&r, 0);
    WAIT_FOR(&r, state_of(&r) == RT_READY);
    assert_int_equal(seen(&r).run, 0);
    assert_true(seen(&r).started_at.us > 0);
    RunState st;
    read_state(&r, &st);
    assert_true(proc_start_ticks(st.pid) == st.pid_ticks);
    struct stat sb;
    assert_int_equal(stat(in_session(&r, RUN_STATE_FILE), &sb), 0);
    assert_int_equal(sb.st_mode & 0777, 0600);
    assert_int_equal(stat(in_session(&r, ".token"), &sb), 0);
    assert_int_equal(sb.st_mode & 0777, 0600);
    assert_int_equal(stat(in_session(&r, "workspace"), &sb), 0);
    assert_int_equal(sb.st_mode & 0777, 0700);
    stop(&r, RT_STOP_USER);
    WAIT_FOR(&r, state_of(&r) == RT_ENDED);
    assert_int_equal(seen(&r).end, RT_END_EXIT);
    assert_int_equal(seen(&r).code, 0);
    assert_int_equal(seen(&r).stop, RT_STOP_USER);
    assert_nothing_left(&st);
    assert_true(file_contains(in_session(&r, "runner.log"), "runner is up"));
}

static void test_process__a_runner_that_binds_by_itself_is_found(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, runner(""), (const char *[]){"--listen-fds=false", NULL});
    ensure_ok(&r, 0);
    WAIT_FOR(&r, state_of(&r) == RT_READY);
}

static void test_process__exit_status_and_signal_are_told(void **state)
{
    static const struct {
        const char *script;
        RtEnd end;
        int code;
    } cases[] = {
        {"sh -c 'exit 0'", RT_END_EXIT, 0},
        {"sh -c 'exit 7'", RT_END_EXIT, 7},
        {"sh -c 'kill -9 $$'", RT_END_SIGNAL, SIGKILL},
        {"sh -c 'kill -11 $$'", RT_END_SIGNAL, SIGSEGV},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_RIG Rig r;
        rig_init(&r, cases[i].script, NULL);
        ensure_ok(&r, 0);
        WAIT_FOR(&r, state_of(&r) == RT_ENDED);
        assert_int_equal(seen(&r).end, cases[i].end);
        assert_int_equal(seen(&r).code, cases[i].code);
        assert_int_equal(seen(&r).stop, RT_STOP_NONE);
        assert_true(seen(&r).ended_at.us >= seen(&r).started_at.us);
    }
}

static void test_process__a_program_that_is_not_there_is_told(void **state)
{
    static const struct {
        const char *command;
        ErrCode code;
    } cases[] = {{"/nonexistent/runner", ERR_NOT_FOUND},
                 {"no-such-program-anywhere", ERR_NOT_FOUND},
                 {"/etc/passwd", ERR_FORBIDDEN}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_RIG Rig r;
        rig_init(&r, cases[i].command, NULL);
        ensure(&r, 0);
        assert_int_equal(r.err.code, cases[i].code);
        assert_int_equal(state_of(&r), RT_ABSENT);
        assert_false(file_exists(in_session(&r, ".token")));
        assert_false(file_exists(in_session(&r, RUN_STATE_FILE)));
    }
}

static void test_process__no_health_answer_is_told(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, runner("--deaf"), (const char *[]){"--health-timeout=200ms", "--listen-fds=true", NULL});
    ensure_ok(&r, 0);
    WAIT_FOR(&r, seen(&r).unhealthy);
    assert_int_equal(state_of(&r), RT_STARTING);
}

static void test_process__bad_ids_become_no_paths(void **state)
{
    static const char *const ids[] = {"..", ".trash", "a/b", "", "a b", "x\n"};
    CLEANUP_RIG Rig r;
    rig_init(&r, "true", NULL);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        CLEANUP(obj_freep) Obj *o = make_session();
        obj_set_str(o, FIELD_ID, str_from(ids[i]));
        ensure_with(&r, o, 0, STR_NULL);
        assert_int_equal(r.err.code, ERR_INVALID);
    }
}

/* ---- once ---- */

static void test_process__a_run_is_started_once(void **state)
{
    CLEANUP_RIG Rig r;
    char args[160], starts[96];
    snprintf(args, sizeof(args), "--starts /var/tmp/cplane-starts-%d", (int)getpid());
    snprintf(starts, sizeof(starts), "/var/tmp/cplane-starts-%d", (int)getpid());
    unlink(starts);
    rig_init(&r, runner(args), (const char *[]){"--listen-fds=true", NULL});
    ensure_ok(&r, 0);
    ensure_ok(&r, 0); /* alive: the same one */
    WAIT_FOR(&r, state_of(&r) == RT_READY);
    stop(&r, RT_STOP_USER);
    WAIT_FOR(&r, state_of(&r) == RT_ENDED);
    ensure_ok(&r, 0); /* ended: still the same one */
    assert_int_equal(state_of(&r), RT_ENDED);
    restart(&r);
    assert_int_equal(state_of(&r), RT_ENDED);
    ensure_ok(&r, 0);
    assert_int_equal(state_of(&r), RT_ENDED);
    ensure_ok(&r, 1); /* the next run is another one */
    WAIT_FOR(&r, state_of(&r) == RT_READY);
    assert_int_equal(seen(&r).run, 1);
    assert_int_equal(seen(&r).stop, RT_STOP_NONE);
    assert_true(file_contains(starts, SID " 0 "));
    assert_true(file_contains(starts, SID " 1 "));
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    assert_int_equal(file_read(starts, &b, NULL), 0);
    unsigned lines = 0;
    for (size_t i = 0; i < b.len; i++)
        lines += b.data[i] == '\n';
    assert_int_equal(lines, 2);
    unlink(starts);
}

static void test_process__an_earlier_run_that_lives_is_not_replaced(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, runner("--deaf"), NULL);
    ensure_ok(&r, 0);
    ensure(&r, 1);
    assert_int_equal(r.err.code, ERR_CONFLICT);
}

static void test_process__two_control_planes_on_one_root_are_refused(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, "true", NULL);
    ProcessRuntime *other = NULL;
    const ProcessOptions o = {.config = &r.config, .http = r.http, .program = "/proc/self/exe"};
    Err err = {0};
    assert_int_equal(process_runtime_new(r.loop, &o, &other, &err), -ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "another control plane"));
}

static void test_process__no_more_than_max_sessions(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, runner("--deaf"), (const char *[]){"--max-sessions=1", NULL});
    ensure_ok(&r, 0);
    CLEANUP(obj_freep) Obj *o = make_session();
    obj_set_str(o, FIELD_ID, STR("another"));
    ensure_with(&r, o, 0, STR_NULL);
    assert_int_equal(r.err.code, ERR_RATE_LIMITED);
}

/* ---- adoption ---- */

static void test_process__a_runner_is_adopted(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, runner("--code 5"), (const char *[]){"--listen-fds=true", NULL});
    ensure_ok(&r, 3);
    WAIT_FOR(&r, state_of(&r) == RT_READY);
    RunState before, after;
    read_state(&r, &before);
    restart(&r);
    assert_int_equal(seen(&r).run, 3);
    WAIT_FOR(&r, state_of(&r) == RT_READY);
    read_state(&r, &after);
    assert_int_equal(before.pid, after.pid);
    int64_t port;
    const char *secret;
    assert_true(process_runtime_route(r.p, STR(SID), &port, &secret));
    assert_int_equal(port, before.port);
    assert_int_equal(strlen(secret), 43);
    kill(after.pid, SIGTERM); /* ends by itself: the status comes from the shim */
    WAIT_FOR(&r, state_of(&r) == RT_ENDED);
    assert_int_equal(seen(&r).code, 5);
}

static void test_process__an_end_while_nobody_watched_is_told(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, runner("--code 6 --deaf"), NULL);
    ensure_ok(&r, 0);
    RunState st;
    read_state(&r, &st);
    wait_for_text(&r, in_session(&r, "runner.log"), "runner is up");
    r.p = process_runtime_free(r.p);
    kill(st.pid, SIGTERM);
    wait_for_file(&r, in_session(&r, RUN_EXIT_FILE));
    rig_open(&r);
    WAIT_FOR(&r, state_of(&r) == RT_ENDED); /* the shim may have a moment left */
    assert_int_equal(seen(&r).end, RT_END_EXIT);
    assert_int_equal(seen(&r).code, 6);
}

static void test_process__a_stop_outlives_its_control_plane(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, runner("--deaf --stubborn"), (const char *[]){"--stop-grace=300ms", NULL});
    ensure_ok(&r, 0);
    RunState st;
    read_state(&r, &st);
    wait_for_text(&r, in_session(&r, "runner.log"), "runner is up");
    stop(&r, RT_STOP_TIME_LIMIT);
    restart(&r);
    WAIT_FOR(&r, state_of(&r) == RT_ENDED);
    assert_int_equal(seen(&r).stop, RT_STOP_TIME_LIMIT);
    assert_int_equal(seen(&r).end, RT_END_SIGNAL);
    assert_int_equal(seen(&r).code, SIGKILL);
    assert_nothing_left(&st);
}

static void test_process__a_killed_shim_takes_its_runner_along(void **state)
{
    for (int watched = 0; watched < 2; watched++) {
        CLEANUP_RIG Rig r;
        rig_init(&r, runner("--deaf --orphan"), NULL);
        ensure_ok(&r, 0);
        RunState st;
        read_state(&r, &st);
        wait_for_text(&r, in_session(&r, "runner.log"), "runner is up");
        if (!watched)
            r.p = process_runtime_free(r.p);
        kill(st.shim_pid, SIGKILL);
        if (!watched)
            rig_open(&r);
        WAIT_FOR(&r, state_of(&r) == RT_ENDED);
        assert_int_equal(seen(&r).end, RT_END_LOST);
        assert_nothing_left(&st);
    }
}

/* For a moment of exec, a process has no environment that could be read. */
static void test_process__nothing_marked_escapes_by_starting_another_program(void **state)
{
    enum { N = 8 };
    pid_t pids[N];
    static const char mark[] = RUN_COOKIE_NAME "=restless";
    int started[2];
    assert_int_equal(pipe2(started, O_CLOEXEC), 0);
    for (int i = 0; i < N; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            execve(runner_path, (char *[]){runner_path, (char[]){"--restless"}, NULL},
                   (char *[]){(char *)(uintptr_t)mark, NULL});
            _exit(127);
        }
    }
    close(started[1]);
    char byte;
    assert_int_equal(read(started[0], &byte, 1), 0); /* closed by the last one's exec */
    close(started[0]);
    proc_kill_marked(mark, 1000);
    int left = 0;
    for (int i = 0; i < N; i++) {
        left += waitpid(pids[i], NULL, WNOHANG) == 0;
        kill(pids[i], SIGKILL);
    }
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    assert_int_equal(left, 0);
}

static void test_process__a_number_that_was_used_again_is_not_touched(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, runner("--deaf"), NULL);
    ensure_ok(&r, 0);
    RunState st;
    read_state(&r, &st);
    op(&r, r.rt->ops->remove);
    r.p = process_runtime_free(r.p);
    /* The state of a run whose numbers now belong to us. */
    CLEANUP_FREE char *dir = path_join(r.root, SID);
    assert_int_equal(dir_make(dir, 0700, NULL), 0);
    st.shim_pid = st.pid = getpid();
    st.shim_ticks = proc_start_ticks(getpid()) - 1;
    assert_int_equal(run_state_write(dir, &st, NULL), 0);
    rig_open(&r);
    assert_int_equal(state_of(&r), RT_ENDED);
    assert_int_equal(seen(&r).end, RT_END_LOST);
}

/* ---- stop and remove ---- */

static void test_process__stop_has_a_grace_and_leaves_nothing(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, runner("--deaf --stubborn --orphan"), (const char *[]){"--stop-grace=100ms", NULL});
    ensure_ok(&r, 0);
    RunState st;
    read_state(&r, &st);
    wait_for_text(&r, in_session(&r, "runner.log"), "runner is up");
    stop(&r, RT_STOP_USER);
    stop(&r, RT_STOP_USER); /* twice is once */
    assert_int_equal(state_of(&r), RT_STOPPING);
    WAIT_FOR(&r, state_of(&r) == RT_ENDED);
    assert_int_equal(seen(&r).code, SIGKILL);
    assert_nothing_left(&st);
}

static void test_process__an_orphan_does_not_outlive_its_runner(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, runner("--deaf --orphan --after 50"), NULL);
    ensure_ok(&r, 0);
    RunState st;
    read_state(&r, &st);
    WAIT_FOR(&r, state_of(&r) == RT_ENDED);
    assert_int_equal(seen(&r).end, RT_END_EXIT);
    assert_nothing_left(&st);
}

static void test_process__a_runner_that_writes_without_end_can_be_stopped(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, "sh -c 'yes & exec yes'", (const char *[]){"--stop-grace=100ms", "--log-max=64k", NULL});
    ensure_ok(&r, 0);
    RunState st;
    read_state(&r, &st);
    wait_for_file(&r, in_session(&r, "runner.log.2"));
    stop(&r, RT_STOP_USER);
    WAIT_FOR(&r, state_of(&r) == RT_ENDED);
    assert_nothing_left(&st);
    struct stat sb;
    assert_int_equal(stat(in_session(&r, "runner.log.1"), &sb), 0);
    assert_true(sb.st_size <= 64 * 1024);
    assert_false(file_exists(in_session(&r, "runner.log.3")));
}

static void test_process__retire_forgets_the_run_and_keeps_the_workspace(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, "sh -c 'echo hello > file'", NULL);
    ensure_ok(&r, 0);
    WAIT_FOR(&r, state_of(&r) == RT_ENDED);
    op(&r, r.rt->ops->retire);
    assert_int_equal(state_of(&r), RT_ABSENT);
    assert_false(file_exists(in_session(&r, RUN_STATE_FILE)));
    assert_false(file_exists(in_session(&r, RUN_EXIT_FILE)));
    assert_false(file_exists(in_session(&r, ".token")));
    assert_true(file_contains(in_session(&r, "workspace/file"), "hello"));
    assert_true(r.rt->ops->made_at(r.rt, STR(SID)).us > 0);
}

static void test_process__remove_ends_the_runner_and_its_directory(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, runner("--deaf --stubborn --orphan"), NULL);
    ensure_ok(&r, 0);
    RunState st;
    read_state(&r, &st);
    op(&r, r.rt->ops->remove);
    assert_int_equal(state_of(&r), RT_ABSENT);
    assert_int_equal(r.rt->ops->made_at(r.rt, STR(SID)).us, 0);
    assert_false(file_exists(in_session(&r, "")));
    assert_nothing_left(&st);
}

static void test_process__remove_follows_no_links(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, "sh -c 'ln -s ../../.. up; ln -s /etc etc'", NULL);
    char keep[128];
    snprintf(keep, sizeof(keep), "%s/keep", r.dir);
    assert_int_equal(file_write_atomic(keep, STR("x"), 0600, NULL), 0);
    ensure_ok(&r, 0);
    WAIT_FOR(&r, state_of(&r) == RT_ENDED);
    op(&r, r.rt->ops->remove);
    assert_false(file_exists(in_session(&r, "")));
    assert_true(file_exists(keep));
    assert_true(file_exists("/etc/passwd"));
}

static void on_flag(void *arg)
{
    *(bool *)arg = true;
}

static void test_process__stop_all_ends_every_runner(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, runner("--deaf"), NULL);
    ensure_ok(&r, 0);
    bool ended = false;
    process_runtime_stop_all(r.p, on_flag, &ended);
    WAIT_FOR(&r, ended);
    assert_int_equal(seen(&r).stop, RT_STOP_SHUTDOWN);
}

/* ---- what a runner gets ---- */

static char *runner_environ(Rig *r)
{
    CLEANUP_BUF Buf b = BUF_INIT(1 << 20);
    wait_for_file(r, in_session(r, "workspace/env"));
    assert_int_equal(file_read(in_session(r, "workspace/env"), &b, NULL), 0);
    return buf_take(&b);
}

static void test_process__the_environment_has_what_it_should_and_no_more(void **state)
{
    setenv("ANTHROPIC_MODEL", "from the host", 1);
    setenv("AMBIENT_API_TOKEN", "platform-secret", 1);
    setenv("OIDC_CLIENT_SECRET", "another-secret", 1);
    setenv("UNRELATED", "not let through", 1);
    CLEANUP_RIG Rig r;
    rig_init(&r, runner("--environ env"), (const char *[]){"--listen-fds=true", NULL});
    CLEANUP(obj_freep) Obj *o = make_session();
    obj_set_str(o, SESSION_ENVIRONMENT_VARIABLES,
                STR("{\"MINE\":\"yes\",\"LD_PRELOAD\":\"evil\",\"SESSION_ID\":\"forged\",\"PATH\":\"/evil\","
                    "\"BOT_TOKEN\":\"x\",\"bad name\":\"x\",\"NUMBER\":1}"));
    obj_set_double(o, SESSION_LLM_TEMPERATURE, 0);
    obj_set_str(o, SESSION_REPO_URL, STR("https://example.org/a \"b\".git"));
    ensure_with(&r, o, 4, STR("a prompt"));
    assert_int_equal(r.err.code, ERR_OK);
    CLEANUP_FREE char *env = runner_environ(&r);
    static const char *const there[] = {
        "SESSION_ID=" SID "\n",
        "PROJECT_NAME=demo\n",
        "AMBIENT_RUN=4\n",
        "INITIAL_PROMPT=a prompt\n",
        "MINE=yes\n",
        "ANTHROPIC_MODEL=from the host\n",
        "LLM_TEMPERATURE=0\n",
        "LISTEN_FDS=1\n",
        "AGUI_HOST=127.0.0.1\n",
        "REPOS_JSON=[{\"url\":\"https://example.org/a \\\"b\\\".git\"}]\n",
        "/.token\n",
        "INTERACTIVE=true\n",
    };
    static const char *const absent[] = {"platform-secret",  "another-secret", "UNRELATED", "evil",
                                         "forged",           "BOT_TOKEN=",     "bad name",  "NUMBER",
                                         "bearer-of-runners"};
    for (size_t i = 0; i < ARRAY_LEN(there); i++)
        if (!strstr(env, there[i]))
            fail_msg("missing: %s", there[i]);
    for (size_t i = 0; i < ARRAY_LEN(absent); i++)
        if (strstr(env, absent[i]))
            fail_msg("present: %s", absent[i]);
    unsetenv("AMBIENT_API_TOKEN");
    unsetenv("OIDC_CLIENT_SECRET");
}

static void test_process__a_long_prompt_goes_into_a_file(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, runner("--environ env"), (const char *[]){"--listen-fds=true", NULL});
    CLEANUP_BUF Buf prompt = BUF_INIT(1 << 20);
    while (prompt.len < 300 * 1024)
        buf_addz(&prompt, "a very long prompt. ");
    CLEANUP(obj_freep) Obj *o = make_session();
    ensure_with(&r, o, 0, buf_str(&prompt));
    assert_int_equal(r.err.code, ERR_OK);
    CLEANUP_FREE char *env = runner_environ(&r);
    assert_non_null(strstr(env, "INITIAL_PROMPT_FILE="));
    assert_null(strstr(env, "INITIAL_PROMPT="));
    CLEANUP_BUF Buf got = BUF_INIT(1 << 20);
    assert_int_equal(file_read(in_session(&r, ".prompt"), &got, NULL), 0);
    assert_true(str_eq(buf_str(&got), buf_str(&prompt)));
}

static void test_process__no_secret_is_in_an_argument(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, runner("--deaf"), NULL);
    ensure_ok(&r, 0);
    RunState st;
    read_state(&r, &st);
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)st.shim_pid);
    assert_false(file_contains(path, st.agui_token));
    assert_false(file_contains(path, "bearer-of-runners"));
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)st.shim_pid);
    assert_false(file_contains(path, st.agui_token));
}

static void give_token(Rig *r)
{
    Runtime *rt = process_runtime(r->p);
    rt->ops->give_token(rt, STR(SID), token_source_get(r->token));
}

static void test_process__a_new_token_reaches_the_runners_file(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, runner("--deaf"), NULL);
    ensure_ok(&r, 0);
    assert_true(file_contains(in_session(&r, ".token"), "bearer-of-runners"));
    struct stat before, after;
    assert_int_equal(stat(in_session(&r, ".token"), &before), 0);
    give_token(&r);
    ensure_ok(&r, 0); /* a turn or two of the loop */
    stop(&r, RT_STOP_USER);
    assert_int_equal(stat(in_session(&r, ".token"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino); /* R19: nothing new, nothing written */
    WAIT_FOR(&r, state_of(&r) == RT_ENDED);

    ensure_ok(&r, 1);
    token_source_free(r.token);
    r.token = token_source_static(STR("a-newer-token"));
    restart(&r);
    give_token(&r);
    wait_for_text(&r, in_session(&r, ".token"), "a-newer-token");
}

/* ---- sandbox and limits ---- */

static void check_sandbox(const char *mode)
{
    char command[512], outside[96], flag[64];
    CLEANUP_RIG Rig r;
    snprintf(outside, sizeof(outside), "/var/cplane-outside-%d", (int)getpid());
    snprintf(
        command, sizeof(command),
        "sh -c 'echo in > inside && echo tmp > /dev/shm/cplane-sb-%d && rm /dev/shm/cplane-sb-%d || exit 10; "
        "echo x > /dev/null || exit 11; (echo out > %s) 2>/dev/null && exit 12; "
        "(echo x > ../.runner.json) 2>/dev/null && exit 13; (mkdir ../x) 2>/dev/null && exit 14; "
        "cat /etc/passwd > /dev/null || exit 15; ls / > copy || exit 16; exit 0'",
        (int)getpid(), (int)getpid(), outside);
    snprintf(flag, sizeof(flag), "--sandbox=%s", mode);
    /* The test's own directory is below /tmp, so that must not be writable here. */
    rig_init(&r, command, (const char *[]){flag, "--sandbox-write=/dev/shm:/nonexistent", NULL});
    ensure_ok(&r, 0);
    WAIT_FOR(&r, state_of(&r) == RT_ENDED);
    RunState st;
    read_state(&r, &st);
    assert_string_equal(st.sandbox, mode);
    unlink(outside);
    assert_int_equal(seen(&r).end, RT_END_EXIT);
    assert_int_equal(seen(&r).code, 0);
}

static void test_process__landlock_keeps_writes_in(void **state)
{
    if (!sandbox_works(SANDBOX_LANDLOCK))
        skip();
    check_sandbox("landlock");
}

/* The sanitizer of threads starts one of its own in every process, sooner or later, and a process of several
   threads cannot enter a user namespace. */
#ifdef __SANITIZE_THREAD__
#define HAS_FOREIGN_THREAD true
#else
#define HAS_FOREIGN_THREAD false
#endif

static void test_process__userns_keeps_writes_in(void **state)
{
    if (HAS_FOREIGN_THREAD || !sandbox_works(SANDBOX_USERNS))
        skip();
    check_sandbox("userns");
}

/* The platform's own files: not for a runner, not even to read; its session's directory is. */
static void test_process__landlock_hides_other_sessions_and_the_platform(void **state)
{
    if (!sandbox_works(SANDBOX_LANDLOCK))
        skip();
    char command[512], hide[128], secret[96];
    CLEANUP_RIG Rig r;
    snprintf(secret, sizeof(secret), "/var/tmp/cplane-hidden-%d", (int)getpid());
    assert_int_equal(file_write_atomic(secret, STR("secret\n"), 0600, NULL), 0);
    snprintf(hide, sizeof(hide), "--sandbox-hide=%s", secret);
    snprintf(command, sizeof(command),
             "sh -c 'cat %s 2>/dev/null && exit 10; cat ../../.lock 2>/dev/null && exit 11; "
             "cat ../.token > /dev/null || exit 12; echo x > \"$TMPDIR/x\" && cat \"$TMPDIR/x\" || exit 13; "
             "cat /etc/passwd > /dev/null || exit 14; exit 0'",
             secret);
    rig_init(&r, command, (const char *[]){"--sandbox=landlock", hide, NULL});
    ensure_ok(&r, 0);
    WAIT_FOR(&r, state_of(&r) == RT_ENDED);
    unlink(secret);
    assert_int_equal(seen(&r).end, RT_END_EXIT);
    assert_int_equal(seen(&r).code, 0);
}

static void test_process__landlock_keeps_signals_in(void **state)
{
    if (!sandbox_works(SANDBOX_LANDLOCK) || sandbox_landlock_abi() < 6)
        skip();
    char command[256];
    CLEANUP_RIG Rig r;
    snprintf(command, sizeof(command),
             "sh -c 'kill -0 %d 2>/dev/null && exit 20; sleep 100 & kill $! || exit 21; exit 0'",
             (int)getpid());
    rig_init(&r, command, (const char *[]){"--sandbox=landlock", NULL});
    ensure_ok(&r, 0);
    WAIT_FOR(&r, state_of(&r) == RT_ENDED);
    assert_int_equal(seen(&r).code, 0);
}

static void test_process__limits_are_set(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, "sh -c 'ulimit -c > limits; ulimit -d >> limits; ulimit -n >> limits'",
             (const char *[]){"--mem-max=512M", "--files-max=77", NULL});
    ensure_ok(&r, 0);
    WAIT_FOR(&r, state_of(&r) == RT_ENDED);
    assert_true(file_contains(in_session(&r, "workspace/limits"), "0\n524288\n77\n"));
}

int run_process_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_process__a_runner_starts_and_answers),
        cmocka_unit_test(test_process__a_runner_that_binds_by_itself_is_found),
        cmocka_unit_test(test_process__exit_status_and_signal_are_told),
        cmocka_unit_test(test_process__a_program_that_is_not_there_is_told),
        cmocka_unit_test(test_process__no_health_answer_is_told),
        cmocka_unit_test(test_process__bad_ids_become_no_paths),
        cmocka_unit_test(test_process__a_run_is_started_once),
        cmocka_unit_test(test_process__an_earlier_run_that_lives_is_not_replaced),
        cmocka_unit_test(test_process__two_control_planes_on_one_root_are_refused),
        cmocka_unit_test(test_process__no_more_than_max_sessions),
        cmocka_unit_test(test_process__a_runner_is_adopted),
        cmocka_unit_test(test_process__an_end_while_nobody_watched_is_told),
        cmocka_unit_test(test_process__a_stop_outlives_its_control_plane),
        cmocka_unit_test(test_process__a_killed_shim_takes_its_runner_along),
        cmocka_unit_test(test_process__nothing_marked_escapes_by_starting_another_program),
        cmocka_unit_test(test_process__a_number_that_was_used_again_is_not_touched),
        cmocka_unit_test(test_process__stop_has_a_grace_and_leaves_nothing),
        cmocka_unit_test(test_process__an_orphan_does_not_outlive_its_runner),
        cmocka_unit_test(test_process__a_runner_that_writes_without_end_can_be_stopped),
        cmocka_unit_test(test_process__retire_forgets_the_run_and_keeps_the_workspace),
        cmocka_unit_test(test_process__remove_ends_the_runner_and_its_directory),
        cmocka_unit_test(test_process__remove_follows_no_links),
        cmocka_unit_test(test_process__stop_all_ends_every_runner),
        cmocka_unit_test(test_process__the_environment_has_what_it_should_and_no_more),
        cmocka_unit_test(test_process__a_long_prompt_goes_into_a_file),
        cmocka_unit_test(test_process__no_secret_is_in_an_argument),
        cmocka_unit_test(test_process__a_new_token_reaches_the_runners_file),
        cmocka_unit_test(test_process__landlock_keeps_writes_in),
        cmocka_unit_test(test_process__userns_keeps_writes_in),
        cmocka_unit_test(test_process__landlock_hides_other_sessions_and_the_platform),
        cmocka_unit_test(test_process__landlock_keeps_signals_in),
        cmocka_unit_test(test_process__limits_are_set),
    };
    ssize_t n = readlink("/proc/self/exe", runner_path, sizeof(runner_path) - 1);
    assert_true(n > 0);
    snprintf(strrchr(runner_path, '/'), 16, "/test-runner");
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
