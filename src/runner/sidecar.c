#include "sidecar.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "config.h"
#include "cp-token.h"
#include "credentials.h"
#include "crypto/crypto.h"
#include "providers.h"
#include "runner.h"

#define RETRY_MIN USEC_PER_SEC
#define RETRY_MAX (30 * USEC_PER_SEC)
#define REFRESH (5 * 60 * USEC_PER_SEC)
#define GRACE (5 * USEC_PER_SEC) /* between SIGTERM and SIGKILL */

typedef struct Digest {
    uint8_t bytes[32];
} Digest;

typedef struct Sidecar {
    Loop *loop;
    RunnerConfig config;
    const char *const *argv; /* of the program */
    TokenSource *token;
    CpToken *cp_token;
    RedactSet *redact;
    RunnerCredentials *credentials;
    Timer *again, *kill;
    Usec retry;
    Child *child;
    Digest running; /* the credential that the program has */
    bool restarting, ending;
    int status;
} Sidecar;

/* ---- what the program gets ---- */

static void copy_variable(ChildEnv *env, const char *to, const char *from)
{
    const char *value = child_env_get(env, from);

    if (value)
        child_env_set(env, to, value);
}

/* The names that the wrapped MCP servers read, beside those that other tools know. */
static void server_names(ChildEnv *env)
{
    static const char *const pairs[][2] = {
        {"GITHUB_PERSONAL_ACCESS_TOKEN", "GITHUB_TOKEN"},
        {"JIRA_USERNAME", "JIRA_EMAIL"},
    };

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        copy_variable(env, pairs[i][0], pairs[i][1]);
    /* The control plane's name for it is not the server's. Reading only is what nobody has to ask for. */
    child_env_default(env, "JIRA_READ_ONLY_MODE", "true");
    copy_variable(env, "READ_ONLY_MODE", "JIRA_READ_ONLY_MODE");
}

static void make_environment(const Sidecar *s, ChildEnv *env)
{
    const Held *held = runner_credentials_held(s->credentials);

    child_env_init(env, false);
    runner_credentials_env(s->credentials, env);
    if (str_eqz(STR("google"), held->provider)) {
        CLEANUP_FREE char *text = str_dup(secret_reveal(held->token));
        child_env_set(env, "GOOGLE_ACCESS_TOKEN", text);
        secret_erase(text, strlen(text));
    }
    server_names(env);
}

/* Images call their program with this path on its command line. */
static void place_kubeconfig(const Held *held)
{
    const char *tmp = getenv("TMPDIR"); // NOLINT(concurrency-mt-unsafe)
    CLEANUP_FREE char *at = path_join(tmp && *tmp == '/' ? tmp : "/tmp", ".ambient_kubeconfig");

    if (!held->path || !str_eqz(STR("kubeconfig"), held->provider))
        return;
    (void)unlink(at);
    if (symlink(held->path, at) < 0)
        log_warn("the kubeconfig cannot be placed", F_STR("path", at),
                 F_STR("error", strerrordesc_np(errno)));
}

static Digest digest_of(const Held *h)
{
    CLEANUP_BUF Buf all = BUF_INIT((size_t)4 << 20);
    Digest d;

    buf_adds(&all, secret_reveal(h->token));
    buf_addf(&all, "%c%s%c%s", 0, h->url ? h->url : "", 0, h->email ? h->email : "");
    sha256(buf_str(&all), d.bytes);
    secret_erase(all.data, all.len);
    return d;
}

/* ---- the program ---- */

static void end_with(Sidecar *s, int status)
{
    s->status = status;
    loop_stop(s->loop);
}

static void on_exit_of_child(void *arg, int wait_status);

static void start_program(Sidecar *s)
{
    ChildEnv env;
    Err err = {0};

    place_kubeconfig(runner_credentials_held(s->credentials));
    make_environment(s, &env);
    const ChildSpec spec = {.argv = s->argv,
                            .envp = (const char *const *)env.vars,
                            .fd_in = STDIN_FILENO,
                            .fd_out = STDOUT_FILENO,
                            .fd_err = STDERR_FILENO,
                            .die_with_parent = true};
    s->running = digest_of(runner_credentials_held(s->credentials));
    if (child_spawn(s->loop, &spec, on_exit_of_child, s, &s->child, &err) < 0) {
        log_error("the program cannot be started", F_STR("program", s->argv[0]), F_ERR(&err));
        end_with(s, EXIT_START);
    }
    child_env_done(&env);
}

static void stop_program(Sidecar *s)
{
    child_signal(s->child, SIGTERM);
    timer_arm(s->kill, GRACE);
}

static void on_kill(void *arg)
{
    Sidecar *s = arg;

    child_signal(s->child, SIGKILL);
}

static void on_exit_of_child(void *arg, int wait_status)
{
    Sidecar *s = arg;

    s->child = child_free(s->child);
    timer_cancel(s->kill);
    if (s->restarting && !s->ending) {
        s->restarting = false;
        start_program(s);
        return;
    }
    end_with(s, WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status));
}

/* ---- the credential ---- */

static void on_credential(void *arg)
{
    Sidecar *s = arg;
    const Held *held = runner_credentials_held(s->credentials);

    if (!held->token) { /* why was logged */
        timer_arm(s->again, s->retry);
        s->retry = s->retry * 2 < RETRY_MAX ? s->retry * 2 : RETRY_MAX;
        return;
    }
    s->retry = RETRY_MIN;
    timer_arm(s->again, s->config.credential_refresh);
    if (s->ending || s->restarting)
        return;
    Digest now = digest_of(held);
    if (!s->child) {
        start_program(s);
    } else if (memcmp(now.bytes, s->running.bytes, sizeof(now.bytes)) != 0) {
        log_info("the credential has changed, the program is started again",
                 F_STR("provider", held->provider));
        s->restarting = true;
        stop_program(s);
    }
}

static void on_again(void *arg)
{
    Sidecar *s = arg;

    runner_credentials_refresh(s->credentials);
}

static void on_trouble(void *arg, const char *text)
{
    log_warn("the program waits for its credential", F_STR("why", text));
}

static void on_token(void *arg)
{
    Sidecar *s = arg;

    if (!s->child)
        timer_arm(s->again, 0);
}

static void on_signal(void *arg)
{
    Sidecar *s = arg;

    s->ending = true;
    if (s->child)
        stop_program(s);
    else
        end_with(s, EXIT_OK);
}

/* ---- life ---- */

static int get_token(Sidecar *s, Err *err)
{
    const RunnerConfig *c = &s->config;
    const CpTokenOptions o = {.url = c->cp_token_url,
                              .public_key = c->cp_token_key,
                              .proof_file = c->cp_token_proof,
                              .session_id = c->session_id,
                              .ca_file = c->grpc_ca_file,
                              .on_token = on_token,
                              .arg = s};

    if (!config_uses_cp_token(c)) {
        Str env = secret_reveal(c->bot_token);
        s->token = c->bot_token_file ? token_source_file(c->bot_token_file, env) : token_source_static(env);
        timer_arm(s->again, 0);
        return 0;
    }
    s->token = token_source_static(STR_NULL);
    CpTokenOptions with = o;
    with.target = s->token;
    return cp_token_new(s->loop, &with, &s->cp_token, err);
}

static int start(Sidecar *s, Err *err)
{
    int rc = get_token(s, err);
    const RunnerCredentialsOptions o = {.config = &s->config,
                                        .token = s->token,
                                        .redact = s->redact,
                                        .on_ready = on_credential,
                                        .on_trouble = on_trouble,
                                        .arg = s};

    if (rc == 0)
        rc = runner_credentials_new(s->loop, &o, &s->credentials, err);
    if (rc < 0)
        return rc;
    if (!s->credentials || runner_credentials_count(s->credentials) != 1)
        return err_set(err, ERR_USAGE, "CREDENTIAL_IDS must name one credential: {\"github\":\"ID\"}");
    return 0;
}

static void sidecar_done(Sidecar *s)
{
    child_free(s->child);
    runner_credentials_free(s->credentials);
    cp_token_free(s->cp_token);
    token_source_free(s->token);
    redact_set_free(s->redact);
    timer_free(s->again);
    timer_free(s->kill);
    config_free(&s->config);
}

static int run(Sidecar *s, Err *err)
{
    CLEANUP(loop_freep) Loop *l = NULL;
    int rc = loop_new(&l, err);

    if (rc < 0)
        return rc;
    s->loop = l;
    s->redact = redact_set_new();
    s->again = timer_new(l, on_again, s);
    s->kill = timer_new(l, on_kill, s);
    s->retry = RETRY_MIN;
    SignalWatch *term = signal_watch_new(l, SIGTERM, on_signal, s);
    SignalWatch *interrupt = signal_watch_new(l, SIGINT, on_signal, s);
    rc = start(s, err);
    if (rc == 0)
        loop_run(l);
    signal_watch_free(term);
    signal_watch_free(interrupt);
    sidecar_done(s);
    return rc;
}

/* What the control plane calls otherwise in a sidecar. */
static void settle(RunnerConfig *c)
{
    const char *url = getenv("AMBIENT_API_URL"); // NOLINT(concurrency-mt-unsafe): before any thread exists

    if (url && *url && (!c->backend_url || !*c->backend_url)) {
        free(c->backend_url);
        c->backend_url = xstrdup(url);
    }
    if (!getenv("CREDENTIAL_REFRESH_INTERVAL")) // NOLINT(concurrency-mt-unsafe)
        c->credential_refresh = REFRESH;
}

int sidecar_main(int argc, char **argv)
{
    Sidecar s = {.status = EXIT_START};
    Err err = {0};
    char *words[] = {argv[0], NULL};

    if (argc > 1 && strcmp(argv[1], "--") == 0) {
        argc--;
        argv++;
    }
    if (argc < 2) {
        fprintf(stderr, "usage: ambient-runner credential-sidecar PROGRAM [ARGUMENT...]\n");
        return EXIT_START;
    }
    s.argv = (const char *const *)(argv + 1);
    int rc = config_load(&s.config, 1, words, &err);
    if (rc == 0) {
        settle(&s.config);
        log_setup("ambient-credential-sidecar", LOG_INFO, str_eqz(STR("json"), s.config.log_format));
        rc = run(&s, &err);
    }
    if (rc < 0)
        fprintf(stderr, "ambient-runner credential-sidecar: %s\n", err.msg);
    return rc < 0 ? EXIT_START : s.status;
}
