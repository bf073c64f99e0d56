/* ambient-runner: lives in a session, gives its messages to an agent and brings back what the agent does. */
#include <signal.h>
#include <stdio.h>
#include "base/log.h"
#include "descendants.h"
#include "runner.h"

static void on_term(void *arg)
{
    runner_terminate(arg);
}

static void setup_log(const RunnerConfig *c)
{
    LogLevel level;

    if (log_level_parse(str_from(c->log_level), &level) < 0)
        level = LOG_INFO; /* other runners know more levels */
    bool json = str_eqz(STR("json"), c->log_format);
    log_setup("ambient-runner", level, json);
}

static int run(RunnerConfig *c, Err *err)
{
    CLEANUP(loop_freep) Loop *l = NULL;
    Runner *r = NULL;
    int rc = loop_new(&l, err);

    if (rc < 0 || (rc = runner_new(l, c, &r, err)) < 0)
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

int main(int argc, char **argv)
{
    RunnerConfig config;
    Err err = {0};
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
