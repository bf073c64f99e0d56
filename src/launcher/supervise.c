#include "launcher-internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"
#include "loop/conn.h"

#define BACKOFF_MIN (200 * USEC_PER_MSEC)
#define BACKOFF_MAX (10 * USEC_PER_SEC)
#define STABLE_AFTER (30 * USEC_PER_SEC) /* a run this long forgets earlier failures */
#define READY_POLL (5 * USEC_PER_MSEC)
#define READY_TIMEOUT (30 * USEC_PER_SEC)
#define STOP_TIMEOUT (35 * USEC_PER_SEC) /* beyond the patience of the control plane */

/*
 *   DOWN --spawn--> STARTING --ports file--> UP --exit--> BACKOFF --timer--> STARTING
 *                      |                      |
 *                      +------- exit ---------+   (before the first UP: the platform gives up)
 *   any --platform stops--> STOPPING --exit--> DOWN
 */
typedef enum ProgramState {
    PROGRAM_DOWN,
    PROGRAM_STARTING,
    PROGRAM_UP,
    PROGRAM_BACKOFF,
    PROGRAM_STOPPING
} ProgramState;

typedef struct Supervisor Supervisor;

typedef struct Program {
    Supervisor *sv;
    const char *name; /* "api-server" */
    const char *file; /* "ambient-api-server" */
    ProgramState state;
    bool was_up;
    Child *child;
    LogFile *log;
    Timer *timer; /* readiness poll, restart delay or stop deadline, by state */
    Usec started, backoff;
    unsigned restarts;
    char *ports_file;
} Program;

struct Supervisor {
    Loop *loop;
    const Place *place;
    const Options *options;
    Program api, cp;
    State st;
    Secret *service_token;
    int proxy_port;
    int ready_fd;
    bool stopping, end_sessions;
    int rc;
    Err err;
};

static void program_start(Program *p);
static void platform_stop(Supervisor *sv);

/* ---- telling others ---- */

static void publish(Supervisor *sv)
{
    sv->st.supervisor = getpid();
    sv->st.api_server = sv->api.child ? child_pid(sv->api.child) : 0;
    sv->st.control_plane = sv->cp.child ? child_pid(sv->cp.child) : 0;
    sv->st.restarts_api_server = sv->api.restarts;
    sv->st.restarts_control_plane = sv->cp.restarts;
    Err err = {0};
    if (state_save(sv->place, &sv->st, &err) < 0)
        log_error("state file cannot be written", F_ERR(&err));
}

static void tell_ready(Supervisor *sv, const char *text)
{
    if (sv->ready_fd < 0)
        return;
    dprintf(sv->ready_fd, "%s\n", text);
    close(sv->ready_fd);
    sv->ready_fd = -1;
}

static void give_up(Supervisor *sv, Program *p, const char *what)
{
    Str tail = str_trim(logfile_tail(p->log));
    ptrdiff_t from = (ptrdiff_t)tail.len;
    while (from > 0 && tail.ptr[from - 1] != '\n')
        from--;
    tail = str_slice(tail, (size_t)from, tail.len);
    sv->rc = err_set(&sv->err, ERR_UNAVAILABLE, "%s %s: " STR_FMT "; the whole log: %s/%s.log", p->file, what,
                     STR_ARG(tail), sv->place->log_dir, p->name);
    tell_ready(sv, sv->err.msg);
    platform_stop(sv);
}

/* ---- one program ---- */

typedef VEC_OF(char *)
Words;

static void words_free(Words *w)
{
    VEC_FOREACH (w, it)
        free(*it);
    vec_free(w);
}

static void word(Words *w, char *owned)
{
    vec_push(w, owned);
}

static void api_words(Supervisor *sv, Words *argv, Words *env)
{
    word(argv, program_path(sv->place, "ambient-api-server"));
    word(argv, xstrdup("serve"));
    word(argv, xasprintf("--db-url=sqlite:%s", sv->place->db));
    word(argv, xasprintf("--api-server-bindaddress=%s", sv->st.http));
    word(argv, xasprintf("--grpc-server-bindaddress=%s", sv->st.grpc));
    word(argv, xstrdup("--metrics-server-bindaddress="));
    word(argv, xstrdup("--health-check-server-bindaddress="));
    word(argv, xstrdup("--enable-jwt=false"));
    word(argv, xstrdup("--enable-authz=true"));
    word(argv, xasprintf("--admin-token-file=%s", sv->place->token));
    word(argv, xasprintf("--ports-file=%s", sv->api.ports_file));
    if (!getenv("CREDENTIAL_ENCRYPTION_KEYRING") && !getenv("CREDENTIAL_ENCRYPTION_KEYRING_FILE")) {
        word(env, xasprintf("CREDENTIAL_ENCRYPTION_KEYRING_FILE=%s", sv->place->keyring));
        word(env, xstrdup("CREDENTIAL_ENCRYPTION_KEY_VERSION=1"));
    }
    word(env, xasprintf("RUNNER_URL_TEMPLATE=http://127.0.0.1:%d/sessions/{id}/runner", sv->proxy_port));
}

/* What no agent may open: our directory, with its tokens and its store, and acpctl's login. */
static void add_hidden(Supervisor *sv, Words *env)
{
    CLEANUP_FREE char *config = login_config_path();
    const char *more = getenv("LOCAL_SANDBOX_HIDE");
    word(env, xasprintf("LOCAL_SANDBOX_HIDE=%s:%s:%s", sv->place->dir, config ? config : "",
                        more && *more ? more : "~/.config/ambient"));
}

static void cp_words(Supervisor *sv, Words *argv, Words *env)
{
    word(argv, program_path(sv->place, "ambient-control-plane"));
    word(argv, xasprintf("--ports-file=%s", sv->cp.ports_file));
    CLEANUP_FREE char *runner = program_path(sv->place, "ambient-runner");
    word(env, xstrdup("MODE=process"));
    word(env, xasprintf("AMBIENT_API_SERVER_URL=http://%s", sv->st.http));
    word(env, xasprintf("AMBIENT_GRPC_SERVER_ADDR=%s", sv->st.grpc));
    word(env, xasprintf("LOCAL_WORKSPACE_ROOT=%s", sv->place->sessions_dir));
    word(env, xasprintf("LOCAL_PROXY_ADDR=127.0.0.1:%d", sv->proxy_port));
    add_hidden(sv, env);
    if (!getenv("LOCAL_RUNNER_COMMAND"))
        word(env, xasprintf("LOCAL_RUNNER_COMMAND=%s", runner));
}

/* The children's environment: ours, with the platform's own settings replaced. */
static void make_env(Supervisor *sv, Words *own)
{
    extern char **environ;
    size_t n_own = own->len;
    for (char **e = environ; *e; e++) {
        Str var = str_from(*e), name = str_cut(&var, '=');
        bool replaced = str_eqz(name, "AMBIENT_API_TOKEN");
        for (size_t i = 0; i < n_own && !replaced; i++) {
            Str own_var = str_from(own->ptr[i]);
            replaced = str_eq(str_cut(&own_var, '='), name);
        }
        if (!replaced)
            word(own, xstrdup(*e));
    }
    Str token = secret_reveal(sv->service_token);
    word(own, xasprintf("AMBIENT_API_TOKEN=" STR_FMT, STR_ARG(token)));
    word(own, NULL);
}

static void set_state(Program *p, ProgramState next)
{
    static const unsigned allowed[] = {
        [PROGRAM_DOWN] = 1 << PROGRAM_STARTING | 1 << PROGRAM_BACKOFF,
        [PROGRAM_STARTING] =
            1 << PROGRAM_UP | 1 << PROGRAM_BACKOFF | 1 << PROGRAM_STOPPING | 1 << PROGRAM_DOWN,
        [PROGRAM_UP] = 1 << PROGRAM_BACKOFF | 1 << PROGRAM_STOPPING,
        [PROGRAM_BACKOFF] = 1 << PROGRAM_STARTING | 1 << PROGRAM_DOWN,
        [PROGRAM_STOPPING] = 1 << PROGRAM_DOWN,
    };
    assert(allowed[p->state] & 1u << next);
    p->state = next;
}

static void platform_finish(Supervisor *sv)
{
    if (sv->stopping && sv->api.state == PROGRAM_DOWN && sv->cp.state == PROGRAM_DOWN)
        loop_stop(sv->loop);
}

static void ended_while_stopping(Program *p)
{
    set_state(p, PROGRAM_DOWN);
    timer_cancel(p->timer);
    if (p == &p->sv->cp && p->sv->api.state != PROGRAM_DOWN)
        child_signal(p->sv->api.child, SIGTERM);
    platform_finish(p->sv);
}

static void on_ended(void *arg, int status)
{
    Program *p = arg;
    Supervisor *sv = p->sv;
    p->child = child_free(p->child);
    if (p->state == PROGRAM_STOPPING) {
        ended_while_stopping(p);
        return;
    }
    if (!p->was_up) {
        set_state(p, PROGRAM_DOWN);
        give_up(sv, p, "could not start");
        return;
    }
    if (loop_now(sv->loop) - p->started > STABLE_AFTER)
        p->backoff = BACKOFF_MIN;
    log_warn("program ended, starting it again", F_STR("child", p->file),
             F_INT("exit_code", WIFEXITED(status) ? WEXITSTATUS(status) : -1),
             F_INT("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
             F_UINT("delay_ms", p->backoff / 1000));
    set_state(p, PROGRAM_BACKOFF);
    p->restarts++;
    timer_arm(p->timer, p->backoff);
    p->backoff = p->backoff * 2 > BACKOFF_MAX ? BACKOFF_MAX : p->backoff * 2;
    publish(sv);
}

static int spawn(Program *p, Err *err)
{
    Supervisor *sv = p->sv;
    CLEANUP(words_free) Words argv = {0};
    CLEANUP(words_free) Words env = {0};
    if (p == &sv->api)
        api_words(sv, &argv, &env);
    else
        cp_words(sv, &argv, &env);
    word(&argv, NULL);
    make_env(sv, &env);
    (void)unlink(p->ports_file);
    ChildSpec spec = {
        .argv = (const char *const *)argv.ptr,
        .envp = (const char *const *)env.ptr,
        .fd_in = -1,
        .fd_out = -1,
        .fd_err = -1,
        .pipe_err = true,
        .die_with_parent = true,
    };
    int rc = child_spawn(sv->loop, &spec, on_ended, p, &p->child, err);
    if (rc < 0)
        return rc;
    p->log = logfile_free(p->log);
    rc = logfile_new(sv->loop, sv->place, p->name, child_fd(p->child, 2), sv->options->foreground, &p->log,
                     err);
    if (rc < 0)
        p->child = (child_signal(p->child, SIGKILL), child_free(p->child));
    return rc;
}

static void program_start(Program *p)
{
    Err err = {0};
    p->started = loop_now(p->sv->loop);
    if (spawn(p, &err) < 0) {
        log_error("program cannot be started", F_STR("child", p->file), F_ERR(&err));
        if (!p->was_up) {
            p->sv->rc = err_set(&p->sv->err, err.code, "%s: %s", p->file, err.msg);
            tell_ready(p->sv, p->sv->err.msg);
            platform_stop(p->sv);
            return;
        }
        if (p->state != PROGRAM_BACKOFF)
            set_state(p, PROGRAM_BACKOFF);
        timer_arm(p->timer, p->backoff);
        return;
    }
    set_state(p, PROGRAM_STARTING);
    timer_arm(p->timer, READY_POLL);
}

/* ---- readiness: a program writes its ports file when it listens ---- */

static void with_port(char addr[128], int port)
{
    char *colon = strrchr(addr, ':');
    size_t at = colon ? (size_t)(colon - addr) : 0;
    snprintf(addr + at, 128 - at, ":%d", port);
}

static bool read_ports(Program *p)
{
    CLEANUP_JSON json_t *j = NULL;
    if (json_parse_file(p->ports_file, 4096, &j, NULL) < 0)
        return false;
    if (p != &p->sv->api)
        return true;
    int http = (int)json_get_int(j, "http", 0), grpc = (int)json_get_int(j, "grpc", 0);
    if (!http || !grpc)
        return false;
    with_port(p->sv->st.http, http); /* from now on this port: a restart must come back where clients look */
    with_port(p->sv->st.grpc, grpc);
    return true;
}

static void program_up(Program *p)
{
    Supervisor *sv = p->sv;
    timer_cancel(p->timer);
    set_state(p, PROGRAM_UP);
    log_info("program is up", F_STR("child", p->file), F_INT("pid", child_pid(p->child)));
    bool first = !p->was_up;
    p->was_up = true;
    if (p == &sv->api && first)
        program_start(&sv->cp);
    publish(sv);
    if (p == &sv->cp && first)
        tell_ready(sv, "ok");
}

static void on_timer(void *arg)
{
    Program *p = arg;
    switch (p->state) {
    case PROGRAM_STARTING:
        if (read_ports(p)) {
            program_up(p);
        } else if (loop_now(p->sv->loop) - p->started > READY_TIMEOUT) {
            log_error("program does not become ready, killing it", F_STR("child", p->file));
            child_signal(p->child, SIGKILL);
        } else {
            timer_arm(p->timer, READY_POLL);
        }
        break;
    case PROGRAM_BACKOFF:
        program_start(p);
        break;
    case PROGRAM_STOPPING:
        log_warn("program does not stop, killing it", F_STR("child", p->file));
        child_signal(p->child, SIGKILL);
        break;
    case PROGRAM_DOWN:
    case PROGRAM_UP:
        break;
    }
}

/* ---- the platform ---- */

static void program_stop(Program *p)
{
    timer_cancel(p->timer);
    if (!p->child) {
        if (p->state != PROGRAM_DOWN)
            set_state(p, PROGRAM_DOWN);
        return;
    }
    set_state(p, PROGRAM_STOPPING);
    timer_arm(p->timer, STOP_TIMEOUT);
}

/* The control plane first: it may still write phases while the API server is there. */
static void platform_stop(Supervisor *sv)
{
    if (sv->stopping)
        return;
    sv->stopping = true;
    bool ends_runners = sv->end_sessions && sv->cp.state == PROGRAM_UP; /* before, it does not listen yet */
    program_stop(&sv->cp);
    program_stop(&sv->api);
    if (sv->cp.child)
        child_signal(sv->cp.child, ends_runners ? SIGUSR1 : SIGTERM);
    else if (sv->api.child)
        child_signal(sv->api.child, SIGTERM);
    platform_finish(sv);
}

static void on_signal(void *arg)
{
    Supervisor *sv = arg;
    if (!sv->stopping)
        log_info("stopping");
    tell_ready(sv, "interrupted while starting");
    platform_stop(sv);
}

/* `ambient down`: no runner may stay, not even of a session that was made after it looked. */
static void on_end_all(void *arg)
{
    Supervisor *sv = arg;
    sv->end_sessions = true;
    on_signal(sv);
}

static void program_init(Supervisor *sv, Program *p, const char *name, const char *file)
{
    p->sv = sv;
    p->name = name;
    p->file = file;
    p->backoff = BACKOFF_MIN;
    p->timer = timer_new(sv->loop, on_timer, p);
    p->ports_file = place_run_file(sv->place, name, "json");
}

static void program_done(Program *p)
{
    timer_free(p->timer);
    logfile_free(p->log);
    free(p->ports_file);
}

/* A port for the control plane's runner proxy. Both programs must know it before either runs. */
static int free_port(Loop *l, int *ret, Err *err)
{
    Listener *ls = NULL;
    int rc = listener_new(l, "127.0.0.1:0", NULL, NULL, NULL, &ls, err);
    if (rc < 0)
        return rc;
    *ret = listener_port(ls);
    listener_free(ls);
    return 0;
}

static int run(Supervisor *sv, Err *err)
{
    const Options *o = sv->options;
    snprintf(sv->st.http, sizeof(sv->st.http), "%s", o->http);
    snprintf(sv->st.grpc, sizeof(sv->st.grpc), "%s", o->grpc);
    sv->st.started_at = clock_wall(&clock_system);
    int rc = secret_from_file(sv->place->service_token, &sv->service_token, err);
    if (rc == 0)
        rc = free_port(sv->loop, &sv->proxy_port, err);
    if (rc < 0) {
        tell_ready(sv, err->msg);
        return rc;
    }
    program_init(sv, &sv->api, "api-server", "ambient-api-server");
    program_init(sv, &sv->cp, "control-plane", "ambient-control-plane");
    SignalWatch *term = signal_watch_new(sv->loop, SIGTERM, on_signal, sv);
    SignalWatch *intr = signal_watch_new(sv->loop, SIGINT, on_signal, sv);
    SignalWatch *all = signal_watch_new(sv->loop, SIGUSR1, on_end_all, sv);
    program_start(&sv->api);
    loop_run(sv->loop);
    signal_watch_free(term);
    signal_watch_free(intr);
    signal_watch_free(all);
    program_done(&sv->api);
    program_done(&sv->cp);
    (void)unlink(sv->place->state);
    if (sv->rc < 0 && err)
        *err = sv->err;
    return sv->rc;
}

int supervise(const Place *p, const Options *o, int ready_fd, Err *err)
{
    CLEANUP(loop_freep) Loop *loop = NULL;
    int rc = loop_new(&loop, err);
    if (rc < 0)
        return rc;
    Supervisor *sv = xnew(Supervisor);
    sv->loop = loop;
    sv->place = p;
    sv->options = o;
    sv->ready_fd = ready_fd;
    rc = run(sv, err);
    secret_free(sv->service_token);
    free(sv);
    return rc;
}
