/*
 * Claude Code CLI, one long-lived process per session, JSON lines both ways. The process starts with the
 * first turn and again whenever a turn finds none; then it resumes the conversation by the id it gave itself.
 *
 *   NONE --send--> STARTING --initialize answered--> TURN --result--> IDLE --send--> TURN
 *                                      question: TURN --> ASKING --send--> TURN
 *                   background work ended by itself: IDLE --> SELF --result--> IDLE
 */
#include <assert.h>
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "claude-internal.h"
#include "state.h"
#include "uuid.h"
#include "wall.h"

#define START_LIMIT (60 * USEC_PER_SEC)
#define INTERRUPT_LIMIT (10 * USEC_PER_SEC)
#define STOP_INTERRUPT (1500 * USEC_PER_MSEC) /* for the result of an interrupted turn */
#define STOP_STDIN (2 * USEC_PER_SEC)         /* for the end after its input was closed */
#define STOP_TERM (2 * USEC_PER_SEC)
#define INSTRUCTIONS_MAX ((size_t)100 << 10) /* an argument has at most 128 KiB */

static void start_process(Claude *c);
static void on_timer(void *arg);

static const char *const state_names[] = {"none", "starting", "idle", "turn", "self", "asking"};

void claude_move(Claude *c, CliState to)
{
    static const unsigned allowed[_CLI_MAX] = {
        [CLI_NONE] = 1U << CLI_STARTING,
        [CLI_STARTING] = 1U << CLI_TURN | 1U << CLI_NONE,
        [CLI_IDLE] = 1U << CLI_TURN | 1U << CLI_SELF | 1U << CLI_NONE,
        [CLI_TURN] = 1U << CLI_IDLE | 1U << CLI_ASKING | 1U << CLI_NONE,
        [CLI_SELF] = 1U << CLI_IDLE | 1U << CLI_ASKING | 1U << CLI_NONE,
        [CLI_ASKING] = 1U << CLI_TURN | 1U << CLI_IDLE | 1U << CLI_NONE,
    };

    assert(allowed[c->state] & 1U << to);
    log_debug("claude", F_STR("from", state_names[c->state]), F_STR("to", state_names[to]));
    c->state = to;
}

static bool in_turn(const Claude *c)
{
    return c->state == CLI_STARTING || c->state == CLI_TURN || c->state == CLI_SELF;
}

/* ---- lines to the CLI ---- */

static void request(Claude *c, const char *subtype)
{
    CLEANUP_BUF Buf line = BUF_INIT(4096);
    CLEANUP_FREE char *id = xasprintf("%s_%u", subtype, ++c->requests);

    claude_write_request(&line, id, subtype);
    proc_write(c->proc, buf_str(&line));
}

static void send_user_line(Claude *c)
{
    CLEANUP_BUF Buf line = BUF_INIT(CLAUDE_LINE_MAX);
    char uuid[UUID_LEN + 1];

    uuid_new(uuid);
    claude_write_user(&line, c->text, uuid);
    c->heard = false;
    claude_move(c, CLI_TURN);
    proc_write(c->proc, buf_str(&line));
}

/* ---- turn ---- */

void claude_end_turn(Claude *c, const TurnEnd *end)
{
    if (c->stopping)
        timer_arm(c->timer, 0); /* the next step */
    else
        timer_cancel(c->timer);
    claude_events_turn_end(&c->events, end->error != NULL);
    c->interrupted = false;
    c->base.host.on_turn_end(c->base.host.arg, end);
}

static void end_interrupted(Claude *c)
{
    CLEANUP_JSON json_t *result = turn_result_interrupted();

    claude_end_turn(c, &(TurnEnd){.result = result});
}

/* With what the CLI said on standard error below the text. */
static void end_failed(Claude *c, const char *text, const char *code)
{
    CLEANUP_BUF Buf message = BUF_INIT(64 << 10);

    buf_addz(&message, text);
    stderr_ring_append(&c->errors, &message);
    claude_end_turn(c, &(TurnEnd){.error = message.data, .code = code});
}

/* ---- the CLI's session id ---- */

static void keep_conversation(Claude *c, const char *id)
{
    const BridgeHost *h = &c->base.host;
    Err err = {0};

    if (c->conversation && id && str_eqz(str_from(id), c->conversation))
        return;
    free(c->conversation);
    c->conversation = id ? xstrdup(id) : NULL;
    if (state_save_conversation(h->state_dir, h->config->session_id, id, &err) < 0)
        log_warn("the agent's conversation id cannot be saved; after a restart it begins anew", F_ERR(&err));
}

/* ---- results ---- */

static void result_error_text(const ClaudeLine *l, Buf *out)
{
    const json_t *errors = json_get_arr(l->json, "errors");
    const json_t *e;
    size_t i;

    buf_adds(out, json_get_strv(l->json, "result"));
    json_array_foreach(errors, i, e)
    {
        if (out->len > 0)
            buf_addc(out, '\n');
        buf_addz(out, json_is_string(e) ? json_string_value(e) : "");
    }
    if (out->len == 0)
        buf_addf(out, "the agent failed: " STR_FMT, STR_ARG(json_get_strv(l->json, "subtype")));
}

/* Status of the model API when it was the reason, else what kind of end the CLI says it was. */
static char *result_code(const ClaudeLine *l)
{
    int64_t status = json_get_int(l->json, "api_error_status", 0);
    Str reason = json_get_strv(l->json, "terminal_reason");
    Str subtype = json_get_strv(l->json, "subtype");

    if (status > 0)
        return xasprintf("%lld", (long long)status);
    if (!str_eqz(subtype, "success") && subtype.len > 0)
        return str_dup(subtype);
    return str_dup(reason.len > 0 ? reason : STR("agent_error"));
}

static void on_result(Claude *c, const ClaudeLine *l)
{
    CLEANUP_JSON json_t *result = claude_run_result(l);

    if (c->state != CLI_TURN && c->state != CLI_SELF)
        return;
    if (c->state == CLI_TURN && claude_result_is_own(l))
        return; /* of a turn that the agent put in between; ours goes on */
    bool failed =
        json_get_bool(l->json, "is_error", false) && !claude_result_is_aborted(l) && !c->interrupted;
    claude_move(c, CLI_IDLE);
    if (!failed) {
        claude_end_turn(c, &(TurnEnd){.result = result});
        return;
    }
    CLEANUP_BUF Buf text = BUF_INIT(1 << 20);
    CLEANUP_FREE char *code = result_code(l);
    result_error_text(l, &text);
    end_failed(c, buf_str(&text).ptr, code);
}

static void on_control_response(Claude *c, const ClaudeLine *l)
{
    const json_t *r = json_get_obj(l->json, "response");

    if (claude_on_answer(c, l))
        return;
    if (c->state != CLI_STARTING || !str_starts(json_get_strv(r, "request_id"), STR("initialize_")))
        return;
    timer_cancel(c->timer);
    if (str_eqz(json_get_strv(r, "subtype"), "success")) {
        send_user_line(c);
        return;
    }
    CLEANUP_FREE char *text =
        xasprintf("the agent could not be initialized: " STR_FMT, STR_ARG(json_get_strv(r, "error")));
    c->proc = proc_free(c->proc);
    claude_move(c, CLI_NONE);
    end_failed(c, text, "start_failed");
}

/* ---- lines from the CLI ---- */

/* Work that nobody asked for: the agent goes on after its background work ended. */
static void begin_self_turn(Claude *c, const ClaudeLine *l)
{
    bool work = l->type == CLAUDE_INIT || l->type == CLAUDE_STREAM || l->type == CLAUDE_ASSISTANT;

    if (c->state != CLI_IDLE || !work || l->parent)
        return;
    claude_move(c, CLI_SELF);
    c->base.host.on_self_turn(c->base.host.arg);
}

static void on_line(void *arg, Str text)
{
    Claude *c = arg;
    ClaudeLine l;

    if (!c->proc)
        return; /* the rest of what an ended process said */
    claude_line_parse(text, &l);
    begin_self_turn(c, &l);
    if (l.type != CLAUDE_IGNORED && c->state == CLI_TURN)
        c->heard = true;
    switch (l.type) {
    case CLAUDE_INIT:
        keep_conversation(c, json_get_str(l.json, "session_id"));
        break;
    case CLAUDE_RESULT:
        on_result(c, &l);
        break;
    case CLAUDE_CONTROL_REQUEST:
        claude_on_request(c, &l);
        break;
    case CLAUDE_CONTROL_RESPONSE:
        on_control_response(c, &l);
        break;
    case CLAUDE_CONTROL_CANCEL:
        claude_on_cancel(c, &l);
        break;
    default:
        claude_events_line(&c->events, &l);
        break;
    }
    claude_line_done(&l);
}

static void on_out(void *arg, Str bytes)
{
    Claude *c = arg;
    unsigned dropped = c->out.dropped;

    line_reader_feed(&c->out, bytes, on_line, c);
    if (c->out.dropped != dropped)
        emit_notice(c->base.host.emitter, "The agent printed a line of more than 64 MiB; it was skipped.");
}

static void on_err(void *arg, Str bytes)
{
    Claude *c = arg;

    stderr_ring_feed(&c->errors, bytes);
}

/* ---- process ---- */

/* The CLI does not know the conversation any more (another machine, a cleaned home): start anew and say so.
 */
static bool start_anew(Claude *c)
{
    if (!c->resumed || !stderr_ring_contains(&c->errors, "No conversation found"))
        return false;
    emit_notice(c->base.host.emitter,
                "The agent's own record of this conversation is gone. It goes on with what the "
                "session's log holds.");
    keep_conversation(c, NULL);
    return true;
}

/* It ended before it said anything about the turn, so the turn was not begun: a second process may have it.
 */
static bool try_again(Claude *c)
{
    if (c->heard || c->retried || c->state != CLI_TURN)
        return false;
    c->retried = true;
    return true;
}

static void fail_exit(Claude *c, int status)
{
    char text[64], code[32];

    proc_status_text(status, text);
    proc_status_code(status, code);
    CLEANUP_FREE char *message = xasprintf("the agent ended in the middle of its turn (%s)", text);
    end_failed(c, message, code);
}

static void on_exit_status(void *arg, int status)
{
    Claude *c = arg;
    bool turn = in_turn(c);

    line_reader_end(&c->out, on_line, c);
    turn = turn && in_turn(c); /* the last line may have been its result */
    c->proc = proc_free(c->proc);
    timer_cancel(c->timer);
    claude_events_reset(&c->events);
    claude_drop_question(c);
    claude_drop_asks(c, "the agent ended");
    bool again = turn && !c->stopping && !c->interrupted && (start_anew(c) || try_again(c));
    CliState was = c->state;
    claude_move(c, CLI_NONE);
    if (again && was != CLI_SELF)
        start_process(c);
    else if (turn && (c->stopping || c->interrupted))
        end_interrupted(c);
    else if (turn)
        fail_exit(c, status);
    if (c->stopping)
        c->base.host.on_stopped(c->base.host.arg);
}

/* MCP servers may need secrets, so their configuration never goes to the command line. */
static char *write_mcp_config(const Claude *c, Err *err)
{
    const RunnerConfig *cfg = c->base.host.config;

    if (!cfg->mcp_config || !*cfg->mcp_config)
        return cfg->mcp_config_file && *cfg->mcp_config_file ? xstrdup(cfg->mcp_config_file) : NULL;
    CLEANUP_FREE char *path = path_join(c->base.host.state_dir, "mcp.json");
    return file_write_atomic(path, str_from(cfg->mcp_config), 0600, err) < 0 ? NULL : TAKE(path);
}

static int spawn(Claude *c, Err *err)
{
    static const ProcOps ops = {on_out, on_err, on_exit_status};
    const BridgeHost *h = &c->base.host;
    CLEANUP_BUF Buf instructions = BUF_INIT(INSTRUCTIONS_MAX);
    CLEANUP_FREE char *mcp = write_mcp_config(c, err);
    ClaudeArgv argv;
    ChildEnv env;

    h->instructions(h->arg, &instructions);
    ClaudeStart start = {
        .path = c->path,
        .instructions = instructions.data,
        .resume = c->conversation,
        .mcp_config = mcp,
        .model = h->config->model,
    };
    claude_argv(&start, &argv);
    claude_env(h->config, &env);
    h->credentials(h->arg, &env);
    CLEANUP_FD int wall = wall_prepare(h->config);
    ProcSpec spec = {.argv = argv.argv,
                     .envp = (const char *const *)env.vars,
                     .cwd = config_agent_dir(h->config),
                     .with_stdin = true,
                     .wall_fd = wall};
    int r = proc_start(h->loop, &spec, &ops, c, &c->proc, err);
    child_env_done(&env);
    claude_argv_done(&argv);
    return r;
}

/* A conversation that the CLI does not have is told to it in front of the first message. */
static void prepend_transcript(Claude *c)
{
    CLEANUP_BUF Buf log = BUF_INIT(1 << 20);
    const BridgeHost *h = &c->base.host;

    if (c->conversation)
        return;
    h->transcript(h->arg, &log);
    if (log.len == 0)
        return;
    char *text = xasprintf("<conversation_so_far>\n%s</conversation_so_far>\n\n%s", log.data, c->text);
    free(c->text);
    c->text = text;
}

static void start_process(Claude *c)
{
    Err err = {0};

    line_reader_done(&c->out);
    line_reader_init(&c->out, CLAUDE_LINE_MAX);
    stderr_ring_clear(&c->errors);
    c->resumed = c->conversation != NULL;
    prepend_transcript(c);
    claude_move(c, CLI_STARTING);
    if (spawn(c, &err) < 0) {
        claude_move(c, CLI_NONE);
        end_failed(c, err.msg, "start_failed");
        return;
    }
    proc_hold(c->proc, c->held);
    request(c, "initialize");
    timer_arm(c->timer, START_LIMIT);
}

/* ---- the bridge's operations ---- */

/* A process that has nothing to do and was started with what is not true any more; the conversation goes on
   in the next one. */
static void drop_stale(Claude *c)
{
    if (!c->stale || c->state != CLI_IDLE)
        return;
    c->stale = false;
    c->proc = proc_free(c->proc);
    claude_drop_asks(c, "the agent is started again");
    claude_events_reset(&c->events);
    claude_move(c, CLI_NONE);
}

static void claude_restart(Bridge *b)
{
    Claude *c = CONTAINER_OF(b, Claude, base);

    c->stale = c->proc != NULL;
}

static const json_t *claude_tasks(const Bridge *b)
{
    const Claude *c = CONTAINER_OF(b, const Claude, base);

    return c->events.tasks;
}

static void claude_send(Bridge *b, const char *text)
{
    Claude *c = CONTAINER_OF(b, Claude, base);

    assert(!in_turn(c)); /* one turn at a time */
    free(c->text);
    c->text = xstrdup(text);
    c->retried = c->interrupted = false;
    drop_stale(c);
    if (c->state == CLI_ASKING)
        claude_answer_question(c);
    else if (c->state == CLI_IDLE)
        send_user_line(c);
    else if (c->state == CLI_NONE)
        start_process(c);
}

static void claude_interrupt(Bridge *b)
{
    Claude *c = CONTAINER_OF(b, Claude, base);

    if (!in_turn(c) || !c->proc)
        return;
    if (c->interrupted || c->state == CLI_STARTING) {
        proc_signal(c->proc, SIGKILL);
    } else {
        request(c, "interrupt");
        timer_arm(c->timer, c->stopping ? STOP_INTERRUPT : INTERRUPT_LIMIT);
    }
    c->interrupted = true;
}

/* Steps of stopping, each with a limit: the interrupted turn's result, closed input, SIGTERM, SIGKILL. */
static void stop_step(Claude *c)
{
    switch (c->stop_step++) {
    case 0:
        proc_close_stdin(c->proc);
        timer_arm(c->timer, STOP_STDIN);
        break;
    case 1:
        proc_signal(c->proc, SIGTERM);
        timer_arm(c->timer, STOP_TERM);
        break;
    default:
        proc_signal(c->proc, SIGKILL);
        break;
    }
}

static void on_timer(void *arg)
{
    Claude *c = arg;

    if (c->stopping && !c->proc) {
        c->base.host.on_stopped(c->base.host.arg);
    } else if (c->stopping) {
        stop_step(c);
    } else if (c->state == CLI_STARTING) {
        stderr_ring_feed(&c->errors, STR("the agent did not answer its initialization within 60 s\n"));
        proc_signal(c->proc, SIGKILL);
    } else if (c->proc && c->interrupted) {
        proc_signal(c->proc, SIGKILL);
    }
}

static void claude_stop(Bridge *b)
{
    Claude *c = CONTAINER_OF(b, Claude, base);

    c->stopping = true;
    if (in_turn(c) && c->proc)
        claude_interrupt(b);
    else
        timer_arm(c->timer, 0);
}

static void claude_hold(Bridge *b, bool hold)
{
    Claude *c = CONTAINER_OF(b, Claude, base);

    c->held = hold;
    if (c->proc)
        proc_hold(c->proc, hold);
}

static bool claude_busy(const Bridge *b)
{
    const Claude *c = CONTAINER_OF(b, const Claude, base);

    return map_len(c->events.agents) > 0;
}

static void claude_destroy(Bridge *b)
{
    Claude *c = CONTAINER_OF(b, Claude, base);

    proc_free(c->proc);
    claude_drop_asks(c, "the agent ended");
    timer_free(c->timer);
    line_reader_done(&c->out);
    stderr_ring_done(&c->errors);
    claude_events_done(&c->events);
    claude_drop_question(c);
    free(c->path);
    free(c->conversation);
    free(c->text);
    free(c);
}

static int claude_create(const BridgeHost *host, Bridge **ret, Err *err)
{
    char *path = claude_find(host->config);

    if (!path)
        return err_set(err, ERR_NOT_FOUND, "the Claude Code CLI is not there any more");
    Claude *c = xnew(Claude);
    c->base = (Bridge){&bridge_claude, *host};
    c->path = path;
    c->conversation = state_load_conversation(host->state_dir, host->config->session_id);
    c->timer = timer_new(host->loop, on_timer, c);
    list_init(&c->asks);
    line_reader_init(&c->out, CLAUDE_LINE_MAX);
    stderr_ring_init(&c->errors);
    claude_events_init(&c->events, host->emitter);
    *ret = &c->base;
    return 0;
}

const BridgeOps bridge_claude = {
    .name = "claude",
    .framework = "claude-agent-sdk",
    .retry_safe = true,
    .session_persistence = true,
    .create = claude_create,
    .send = claude_send,
    .interrupt = claude_interrupt,
    .stop = claude_stop,
    .hold = claude_hold,
    .busy = claude_busy,
    .ask = claude_ask,
    .forget = claude_forget,
    .tasks = claude_tasks,
    .restart = claude_restart,
    .destroy = claude_destroy,
};
