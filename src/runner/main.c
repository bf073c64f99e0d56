/* ambient-runner: lives in a session, gives its messages to an agent and brings back what the agent does. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "cp-token.h"
#include "descendants.h"
#include "runner.h"
#include "sidecar.h"

#define LOG_KEPT ((size_t)256 << 10) /* of the newest lines, for /logs */

static void on_term(void *arg)
{
    runner_terminate(arg);
}

typedef struct FirstToken {
    Loop *loop;
    bool came;
} FirstToken;

static void on_first_token(void *arg)
{
    FirstToken *f = arg;

    if (!f->came)
        loop_stop(f->loop);
    f->came = true;
}

static void setup_log(const RunnerConfig *c)
{
    LogLevel level;

    if (log_level_parse(str_from(c->log_level), &level) < 0)
        level = LOG_INFO; /* other runners know more levels */
    bool json = str_eqz(STR("json"), c->log_format);
    log_setup("ambient-runner", level, json);
    log_keep(LOG_KEPT);
}

static void on_loop_end(void *arg)
{
    loop_stop(arg);
}

/* Nothing can be asked without the session's token: its first one is waited for. False: told to end instead.
 */
static bool wait_for_token(Loop *l, TokenSource *token)
{
    SignalWatch *term = signal_watch_new(l, SIGTERM, on_loop_end, l);
    SignalWatch *interrupt = signal_watch_new(l, SIGINT, on_loop_end, l);

    loop_run(l);
    signal_watch_free(term);
    signal_watch_free(interrupt);
    return token_source_get(token) != NULL;
}

static int work(Loop *l, RunnerConfig *c, Err *err)
{
    Runner *r = NULL;
    int rc = runner_new(l, c, &r, err);

    if (rc < 0)
        return EXIT_START;
    SignalWatch *term = signal_watch_new(l, SIGTERM, on_term, r);
    SignalWatch *interrupt = signal_watch_new(l, SIGINT, on_term, r);
    loop_run(l);
    rc = runner_exit_code(r);
    signal_watch_free(term);
    signal_watch_free(interrupt);
    runner_free(r);
    return rc;
}

static int run_with_endpoint(Loop *l, RunnerConfig *c, Err *err)
{
    CLEANUP(token_source_freep) TokenSource *token = token_source_static(STR_NULL);
    CpTokenOptions o = {.url = c->cp_token_url,
                        .public_key = c->cp_token_key,
                        .proof_file = c->cp_token_proof,
                        .session_id = c->session_id,
                        .ca_file = c->grpc_ca_file,
                        .target = token,
                        .on_token = on_first_token,
                        .arg = &(FirstToken){l, false}};
    CpToken *endpoint = NULL;
    int rc = cp_token_new(l, &o, &endpoint, err) < 0 ? EXIT_START : EXIT_OK;

    if (rc == EXIT_OK && wait_for_token(l, token)) {
        c->token = token;
        rc = work(l, c, err);
        c->token = NULL;
    }
    cp_token_free(endpoint);
    return rc;
}

static int run(RunnerConfig *c, Err *err)
{
    CLEANUP(loop_freep) Loop *l = NULL;

    if (loop_new(&l, err) < 0)
        return EXIT_START;
    return config_uses_cp_token(c) ? run_with_endpoint(l, c, err) : work(l, c, err);
}

int main(int argc, char **argv)
{
    RunnerConfig config;
    Err err = {0};

    if (argc > 1 && strcmp(argv[1], "credential-sidecar") == 0)
        return sidecar_main(argc - 1, argv + 1);
    int rc = config_load(&config, argc, argv, &err);

    if (rc == -ERR_CANCELLED)
        return EXIT_OK; /* --help */
    if (rc < 0) {
        fprintf(stderr, "ambient-runner: %s\n", err.msg);
        return EXIT_START;
    }
    setup_log(&config);
    descendants_adopt();
    log_info("start", F_STR("version", AMBIENT_VERSION), F_STR("session", config.session_id));
    rc = run(&config, &err);
    if (err.code)
        log_error("cannot run", F_ERR(&err));
    config_free(&config);
    return rc;
}
