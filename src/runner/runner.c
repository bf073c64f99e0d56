#include "runner-internal.h"

#include <assert.h>
#include <string.h>
#include <sys/stat.h>
#include "base/clock.h"
#include "base/file.h"
#include "descendants.h"
#include "git.h"
#include "workflow.h"

#define API_TEMPERATURE "0.7" /* default of the session API: nobody asked for it */

static const char *const state_names[] = {"reading", "ready", "stopping", "draining", "ended"};

void runner_move(Runner *r, RunnerState to)
{
    static const unsigned allowed[_R_MAX] = {
        [R_READING] = 1U << R_READY | 1U << R_STOPPING,
        [R_READY] = 1U << R_STOPPING,
        [R_STOPPING] = 1U << R_DRAINING,
        [R_DRAINING] = 1U << R_ENDED,
    };

    assert(allowed[r->state] & 1U << to);
    log_debug("runner", F_STR("from", state_names[r->state]), F_STR("to", state_names[to]));
    r->state = to;
}

/* ---- records and events ---- */

void runner_record(Runner *r, const char *event_type, Str payload)
{
    if (r->outbox && !r->gone)
        outbox_add(r->outbox, event_type, payload, r->turn, *r->turn ? r->turn : r->boot);
}

static void on_record(void *arg, const char *event_type, Str payload)
{
    runner_record(arg, event_type, payload);
}

static void on_event(void *arg, const AguiEvent *ev)
{
    Runner *r = arg;

    if (r->tap)
        tap_event(r->tap, ev, emitter_run_id(r->emitter));
}

/* ---- the end ---- */

static void end(Runner *r)
{
    if (r->state == R_ENDED)
        return;
    runner_move(r, R_ENDED);
    loop_stop(r->loop);
}

static void drain(Runner *r)
{
    runner_move(r, R_DRAINING);
    if (!r->outbox || r->gone || outbox_waiting(r->outbox) == 0)
        end(r);
    else if (!timer_armed(r->limit))
        timer_arm(r->limit, DRAIN_LIMIT);
}

static void on_stopped(void *arg)
{
    Runner *r = arg;

    if (r->state != R_STOPPING)
        return;
    descendants_kill(0, 0); /* what the agent started and left behind */
    drain(r);
}

/* The time for a clean end is over. */
static void on_limit(void *arg)
{
    Runner *r = arg;
    const Err *trouble = r->outbox ? outbox_trouble(r->outbox) : NULL;

    if (r->outbox && outbox_waiting(r->outbox) > 0) {
        log_error("records could not be brought into the session's log in time",
                  F_UINT("records", outbox_waiting(r->outbox)), F_STR("error", trouble ? trouble->msg : ""));
        if (r->exit_code == EXIT_OK && r->terms == 0)
            r->exit_code = EXIT_UNDELIVERED;
    }
    if (r->state == R_STOPPING)
        runner_move(r, R_DRAINING);
    end(r);
}

void runner_stop(Runner *r, int exit_code)
{
    if (r->state == R_STOPPING || r->state == R_DRAINING || r->state == R_ENDED)
        return;
    log_info("the runner ends", F_INT("exit_code", exit_code));
    runner_move(r, R_STOPPING);
    r->exit_code = exit_code;
    timer_cancel(r->idle);
    timer_cancel(r->life);
    if (r->bridge)
        r->bridge_ops->stop(r->bridge);
    else
        drain(r);
}

void runner_terminate(Runner *r)
{
    if (r->terms++ > 0) {
        log_warn("second signal: the runner ends at once");
        loop_stop(r->loop);
        return;
    }
    timer_arm(r->limit, r->config->grace);
    runner_stop(r, EXIT_OK);
}

int runner_exit_code(const Runner *r)
{
    return r->exit_code;
}

static void on_idle(void *arg)
{
    Runner *r = arg;

    log_info("nothing to do for too long");
    runner_stop(r, (int)r->config->idle_exit);
}

static void on_life(void *arg)
{
    Runner *r = arg;
    char text[128];

    snprintf(text, sizeof(text), "The session reached its time limit of %llu seconds.",
             (unsigned long long)(r->config->timeout / USEC_PER_SEC));
    if (emitter_active(r->emitter))
        emit_run_error(r->emitter, text, "timeout");
    else
        emit_notice(r->emitter, text);
    runner_stop(r, EXIT_TIMEOUT);
}

/* ---- the session's log ---- */

static void on_gone(void *arg, const Err *err)
{
    Runner *r = arg;

    log_info("the session does not exist any more", F_ERR(err));
    r->gone = true;
    if (r->state == R_DRAINING)
        end(r);
    else
        runner_stop(r, EXIT_OK);
}

static void on_acked(void *arg, Str request_id, uint64_t seq)
{
    Runner *r = arg;

    if (r->barrier_seq || !str_eqz(request_id, r->barrier_id))
        return;
    r->barrier_seq = seq;
    if (r->state == R_READING && r->seen_seq >= seq)
        turns_log_read(r);
}

static void on_drained(void *arg)
{
    Runner *r = arg;

    if (r->state == R_DRAINING)
        end(r);
}

static void on_pressure(void *arg, bool high)
{
    Runner *r = arg;

    r->pressure = high;
    if (high)
        log_warn("the session's log does not keep up; the agent has to wait");
    if (r->bridge)
        r->bridge_ops->hold(r->bridge, high);
}

static void on_message(void *arg, const ClientMessage *m)
{
    turns_log_message(arg, m);
}

static void on_open(void *arg)
{
    log_info("following the session's messages");
}

static void on_broken(void *arg, const Err *err)
{
    log_warn("the stream of the session's messages broke, it is opened again", F_ERR(err));
}

static void *push_start(void *arg, const ClientPush *p, ClientPushDone done, void *done_arg)
{
    return client_push(arg, p, done, done_arg);
}

static void push_cancel(void *arg, void *call)
{
    client_push_cancel(call);
}

/* The first record tells the reader of the log that everything before it is there. */
static void add_barrier(Runner *r)
{
    char text[160];

    snprintf(text, sizeof(text), "{\"event\":\"runner_started\",\"agent\":\"%s\",\"version\":\"%s\"}",
             r->bridge_ops ? r->bridge_ops->name : "none", AMBIENT_VERSION);
    runner_record(r, "lifecycle", str_from(text));
    r->barrier_id = xasprintf("%s-1", r->boot);
}

static TokenSource *token_of_settings(const RunnerConfig *c)
{
    Str value = secret_reveal(c->bot_token);

    return c->bot_token_file ? token_source_file(c->bot_token_file, value) : token_source_static(value);
}

static int connect_session(Runner *r, Err *err)
{
    const RunnerConfig *c = r->config;
    static const WatchOps watch = {
        .on_open = on_open, .on_message = on_message, .on_broken = on_broken, .on_end = on_gone};
    static const OutboxOps ops = {on_acked, on_drained, on_pressure, on_gone};
    CLEANUP_FREE char *journal = path_join(c->state_dir, "journal.jsonl");

    r->token = c->token ? c->token : token_of_settings(c);
    ClientOptions o = {
        .grpc_address = c->grpc_url,
        .grpc_tls = c->grpc_tls,
        .token = r->token,
        .user_agent = "ambient-runner/" AMBIENT_VERSION,
        .ca_file = c->grpc_ca_file,
    };
    int rc = client_new_grpc(r->loop, &o, &r->client, err);
    if (rc < 0)
        return rc;
    OutboxPush push = {push_start, push_cancel, r->client};
    r->outbox = outbox_new(r->loop, &push, c->session_id, journal, &ops, r);
    add_barrier(r);
    r->watch = client_watch_messages(r->client, str_from(c->session_id), 0, &watch, r);
    return 0;
}

/* ---- credentials ---- */

/* Repositories are cloned with them. */
static void start_repos(Runner *r)
{
    if (r->repos_started)
        return;
    r->repos_started = true;
    repos_start(r->repos);
    r->settled = repos_settled(r->repos);
}

static void on_credentials(void *arg)
{
    Runner *r = arg;

    start_repos(r);
    timer_arm(r->kick, 0);
}

static void on_servers(void *arg)
{
    timer_arm(((Runner *)arg)->kick, 0);
}

static void on_credential_trouble(void *arg, const char *text)
{
    Runner *r = arg;

    emit_notice(r->emitter, text);
}

static void give_credentials(void *arg, ChildEnv *env)
{
    const Runner *r = arg;

    runner_credentials_env(r->credentials, env);
    git_identity_env(r->config, runner_credentials_git_email(r->credentials), env);
}

/* A session whose credentials cannot even be asked for works without them, and says so. */
static void get_credentials(Runner *r)
{
    const RunnerCredentialsOptions o = {
        .config = r->config,
        .token = r->token,
        .redact = r->redact,
        .on_ready = on_credentials,
        .on_trouble = on_credential_trouble,
        .arg = r,
    };
    Err err = {0};

    int rc = r->token ? runner_credentials_new(r->loop, &o, &r->credentials, &err) : 0;
    r->config->credentials = r->credentials;
    if (rc == 0)
        return;
    log_error("the session's credentials cannot be fetched", F_ERR(&err));
    CLEANUP_FREE char *text = xasprintf("The session's credentials cannot be fetched: %s.", err.msg);
    emit_notice(r->emitter, text);
}

/* ---- the agent ---- */

static void write_transcript(void *arg, Buf *out)
{
    const Runner *r = arg;

    if (!r->current_first)
        transcript_write(&r->transcript, r->current_seq, out);
}

static void write_instructions(void *arg, Buf *out)
{
    const Runner *r = arg;

    if (r->config->preamble && *r->config->preamble)
        buf_addf(out, "%s\n\n", r->config->preamble);
    repos_describe(r->repos, out);
    CLEANUP_JSON json_t *workflow = workflow_config(r->repos, r->workspace);
    if (json_get_str(workflow, "systemPrompt"))
        buf_addf(out, "%s\n\n", json_get_str(workflow, "systemPrompt"));
    if (r->instructions)
        buf_addz(out, r->instructions);
}

static bool is_interactive(void *arg)
{
    const Runner *r = arg;

    return !r->one_shot;
}

static int make_bridge(Runner *r, Err *err)
{
    BridgeHost host = {
        .loop = r->loop,
        .emitter = r->emitter,
        .config = r->config,
        .state_dir = r->config->state_dir,
        .on_turn_end = turns_end,
        .on_self_turn = turns_self,
        .on_stopped = on_stopped,
        .transcript = write_transcript,
        .instructions = write_instructions,
        .interactive = is_interactive,
        .credentials = give_credentials,
        .arg = r,
    };
    return r->bridge_ops->create(&host, &r->bridge, err);
}

static void tell_temperature(Runner *r)
{
    const char *t = r->config->temperature;

    if (r->bridge_ops != &bridge_claude || !t || !*t || str_eqz(STR(API_TEMPERATURE), t))
        return;
    emit_notice(r->emitter, "llm_temperature is not supported by this agent and has no effect.");
}

/* ---- repositories ---- */

static void replace_agent_dir(Runner *r)
{
    free(r->config->agent_dir);
    r->config->agent_dir = repos_agent_dir(r->repos);
}

/* The API server makes the session's reconciled_repos and reconciled_workflow of it. */
void runner_repos_changed(Runner *r)
{
    CLEANUP_JSON json_t *o = json_object();
    CLEANUP_BUF Buf text = BUF_INIT((size_t)64 << 10);
    const Repo *workflow = repos_workflow(r->repos);
    json_t *list = json_array();

    for (size_t i = 0; i < repos_count(r->repos); i++)
        json_array_append_new(list, repo_json(repos_at(r->repos, i)));
    json_object_set_new(o, "event", json_string("repositories"));
    json_object_set_new(o, "repos", list);
    json_object_set_new(o, "workflow", workflow ? repo_json(workflow) : json_null());
    json_write_plain(&text, o);
    if (!text.failed)
        runner_record(r, "lifecycle", buf_str(&text));
}

/* The first turn waits for this. Later on the agent stays where its conversation is, unless the workflow
 * changes. */
static void on_repos_settled(void *arg)
{
    Runner *r = arg;

    if (!r->settled)
        replace_agent_dir(r);
    r->settled = true;
    runner_repos_changed(r);
    timer_arm(r->kick, 0);
}

static void on_repos_notice(void *arg, const char *text)
{
    Runner *r = arg;

    emit_notice(r->emitter, text);
}

void runner_workflow_changed(Runner *r)
{
    replace_agent_dir(r);
    if (r->bridge && r->bridge_ops->restart)
        r->bridge_ops->restart(r->bridge);
}

static int make_workspace(Runner *r, Err *err)
{
    static const ReposOps ops = {on_repos_settled, on_repos_notice};
    static const char *const places[] = {"file-uploads", "artifacts"};
    RunnerConfig *c = r->config;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(places); i++) {
        CLEANUP_FREE char *path = path_join(c->workspace, places[i]);
        rc = dir_make(path, 0755, err);
    }
    if (rc == 0)
        rc = workspace_new(c->workspace, c->state_dir, &r->workspace, err);
    if (rc < 0)
        return rc;
    r->repos = repos_new(r->loop, c, r->workspace, &ops, r);
    return 0;
}

/* Without an agent the session says so and fails. */
static void no_agent(Runner *r, const Err *why)
{
    CLEANUP_JSON json_t *record = json_object();
    CLEANUP_BUF Buf text = BUF_INIT(4096);

    log_error("no agent", F_ERR(why));
    json_object_set_new(record, "error", json_string(why->msg));
    json_object_set_new(record, "message", json_string(why->msg));
    json_object_set_new(record, "code", json_string("NO_AGENT"));
    json_object_set_new(record, "seq", json_integer(0)); /* it ends no turn: the messages still wait */
    json_write_plain(&text, record);
    runner_record(r, "error", buf_str(&text));
    runner_stop(r, EXIT_NO_AGENT);
}

/* ---- life ---- */

static int make_directories(RunnerConfig *c, const BridgeOps *bridge, Err *err)
{
    const char *name = c->state_dir_name && *c->state_dir_name ? c->state_dir_name
                       : bridge == &bridge_shell               ? ".ambient"
                                                               : ".claude";

    c->state_dir = *name == '/' ? xstrdup(name) : path_join(c->workspace, name);
    int r = dir_make(c->workspace, 0755, err);
    return r < 0 ? r : dir_make(c->state_dir, 0700, err);
}

static void add_secrets(RedactSet *set, const RunnerConfig *c)
{
    static const char *const names[] = {
        "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN",
        "GITHUB_TOKEN",      "GITLAB_TOKEN",         "JIRA_API_TOKEN",
        "GEMINI_API_KEY",    "GOOGLE_API_KEY",       "OPENAI_API_KEY",
    };

    redact_set_add(set, "BOT_TOKEN", secret_reveal(c->bot_token));
    redact_set_add(set, "AGUI_TOKEN", secret_reveal(c->agui_token));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP(secret_freep) Secret *s = secret_from_env(names[i]);
        redact_set_add(set, names[i], secret_reveal(s));
    }
}

static Runner *alloc(Loop *l, RunnerConfig *c)
{
    static const EmitterOps ops = {on_event, on_record};
    Runner *r = xnew(Runner);

    r->loop = l;
    r->config = c;
    list_init(&r->queue);
    scan_init(&r->scan);
    transcript_init(&r->transcript);
    ksuid_new(r->boot, clock_wall(loop_clock(l)));
    r->redact = redact_set_new();
    add_secrets(r->redact, c);
    r->emitter = emitter_new(&ops, r, loop_clock(l), r->redact);
    r->tap = tap_new(l, TAP_RING_BYTES, TAP_HEARTBEAT);
    r->kick = timer_new(l, turns_kick, r);
    r->idle = timer_new(l, on_idle, r);
    r->life = timer_new(l, on_life, r);
    r->limit = timer_new(l, on_limit, r);
    return r;
}

static int start(Runner *r, Err *err)
{
    Err why = {0};
    int rc = bridge_choose(r->config, &r->bridge_ops, &why);

    if (rc < 0 && !r->config->grpc)
        return err_set(err, why.code, "%s", why.msg);
    int made = make_directories(r->config, r->bridge_ops, err);
    if (made < 0)
        return made;
    if ((made = make_workspace(r, err)) < 0)
        return made;
    if (r->bridge_ops && (made = make_bridge(r, err)) < 0)
        return made;
    if ((made = http_api_new(r->loop, r, &r->http, err)) < 0)
        return made;
    if (r->config->grpc && (made = connect_session(r, err)) < 0)
        return made;
    if (rc < 0) {
        no_agent(r, &why);
        return 0;
    }
    get_credentials(r);
    r->mcp_wait = mcp_wait_new(r->loop, r->config, on_servers, r);
    tell_temperature(r);
    if (runner_credentials_ready(r->credentials))
        start_repos(r);
    if (r->config->timeout != USEC_NEVER)
        timer_arm(r->life, r->config->timeout);
    if (!r->config->grpc)
        turns_log_read(r); /* there is no log: HTTP only */
    return 0;
}

DEFINE_CLEANUP(Runner, runner_free)

int runner_new(Loop *l, RunnerConfig *c, Runner **ret, Err *err)
{
    CLEANUP(runner_freep) Runner *r = alloc(l, c);
    int rc = start(r, err);

    if (rc < 0)
        return rc;
    *ret = TAKE(r);
    return 0;
}

Runner *runner_free(Runner *r)
{
    if (!r)
        return NULL;
    r->tap = tap_free(r->tap); /* before its connections */
    http_api_free(r->http);
    mcp_wait_free(r->mcp_wait);
    if (r->bridge)
        r->bridge_ops->destroy(r->bridge);
    repos_free(r->repos);
    workspace_free(r->workspace);
    descendants_kill(0, 0);
    client_watch_free(r->watch);
    outbox_free(r->outbox);
    client_free(r->client);
    r->config->credentials = runner_credentials_free(r->credentials);
    if (r->token != r->config->token)
        token_source_free(r->token);
    emitter_free(r->emitter);
    redact_set_free(r->redact);
    turns_free_queue(r);
    scan_done(&r->scan);
    transcript_done(&r->transcript);
    timer_free(r->kick);
    timer_free(r->idle);
    timer_free(r->life);
    timer_free(r->limit);
    free(r->barrier_id);
    free(r->instructions);
    free(r->note);
    free(r);
    return NULL;
}

/* ---- for the HTTP interface ---- */

const RunnerConfig *runner_config(const Runner *r)
{
    return r->config;
}

Tap *runner_tap(Runner *r)
{
    return r->tap;
}

bool runner_ready(const Runner *r)
{
    return r->state == R_READY;
}

bool runner_has_agent(const Runner *r)
{
    return r->bridge != NULL;
}

void runner_interrupt(Runner *r, bool drop_queued)
{
    if (drop_queued)
        turns_drop_queued(r);
    if (r->bridge && emitter_active(r->emitter))
        r->bridge_ops->interrupt(r->bridge);
}

const char *runner_framework(const Runner *r)
{
    return r->bridge_ops ? r->bridge_ops->framework : "none";
}

bool runner_persists(const Runner *r)
{
    return r->bridge_ops && r->bridge_ops->session_persistence;
}

Workspace *runner_workspace(const Runner *r)
{
    return r->workspace;
}

Repos *runner_repos(const Runner *r)
{
    return r->repos;
}

Bridge *runner_bridge(const Runner *r)
{
    return r->bridge;
}

bool runner_busy(const Runner *r)
{
    return emitter_active(r->emitter);
}

void runner_set_model(Runner *r, const char *model)
{
    CLEANUP_JSON json_t *value = json_object();

    json_object_set_new(value, "previousModel", json_string(r->config->model ? r->config->model : ""));
    json_object_set_new(value, "newModel", json_string(model));
    free(r->config->model);
    r->config->model = xstrdup(model);
    emit_custom(r->emitter, "ambient:model_switched", value, true);
}

bool runner_feedback(Runner *r, Str payload)
{
    if (!r->outbox || r->gone)
        return false;
    runner_record(r, "user_feedback", payload);
    return true;
}

void runner_note(Runner *r, char *text)
{
    char *all = r->note ? xasprintf("%s\n%s", r->note, text) : xstrdup(text);

    free(r->note);
    free(text);
    r->note = all;
}
