#include "claude-events.h"

#include "base/mem.h"

#define RESULT_MAX ((size_t)64 << 20)
#define TASKS_MAX 1000

static void end_tasks(ClaudeEvents *ev);

void claude_events_init(ClaudeEvents *ev, Emitter *e)
{
    *ev = (ClaudeEvents){.emitter = e, .agents = map_new(), .tasks = json_object()};
}

static void set(char **member, Str value)
{
    free(*member);
    *member = value.ptr ? str_dup(value) : NULL;
}

void claude_events_reset(ClaudeEvents *ev)
{
    set(&ev->streamed, STR_NULL);
    set(&ev->tool, STR_NULL);
    set(&ev->answered, STR_NULL);
    set(&ev->synthetic, STR_NULL);
    ev->retrying = ev->compacting = false;
    map_clear(ev->agents);
    end_tasks(ev);
}

void claude_events_done(ClaudeEvents *ev)
{
    claude_events_reset(ev);
    ev->agents = map_free(ev->agents);
    json_decref(ev->tasks);
}

void claude_events_turn_end(ClaudeEvents *ev, bool failed)
{
    if (ev->synthetic && !failed) {
        emit_text(ev->emitter, str_from(ev->synthetic));
        emit_text_end(ev->emitter);
    }
    set(&ev->synthetic, STR_NULL);
    set(&ev->tool, STR_NULL);
    set(&ev->streamed, STR_NULL);
    ev->retrying = ev->compacting = false;
}

/* ---- stream_event ---- */

static void on_block_start(ClaudeEvents *ev, const json_t *event)
{
    const json_t *block = json_get_obj(event, "content_block");
    Str type = json_get_strv(block, "type");

    if (!str_eqz(type, "tool_use") && !str_eqz(type, "server_tool_use"))
        return;
    set(&ev->tool, json_get_strv(block, "id"));
    emit_tool_start(ev->emitter, json_get_strv(block, "id"), json_get_strv(block, "name"), STR(""));
}

static void on_block_delta(ClaudeEvents *ev, const json_t *event)
{
    const json_t *delta = json_get_obj(event, "delta");
    Str type = json_get_strv(delta, "type");

    if (str_eqz(type, "text_delta"))
        emit_text(ev->emitter, json_get_strv(delta, "text"));
    else if (str_eqz(type, "thinking_delta"))
        emit_reasoning(ev->emitter, json_get_strv(delta, "thinking"));
    else if (str_eqz(type, "input_json_delta") && ev->tool)
        emit_tool_args(ev->emitter, str_from(ev->tool), json_get_strv(delta, "partial_json"));
}

static void on_block_stop(ClaudeEvents *ev)
{
    emit_reasoning_end(ev->emitter);
    if (ev->tool)
        emit_tool_ready(ev->emitter, str_from(ev->tool));
    set(&ev->tool, STR_NULL);
}

static void on_stream(ClaudeEvents *ev, const ClaudeLine *l)
{
    const json_t *event = json_get_obj(l->json, "event");
    Str type = json_get_strv(event, "type");

    if (l->parent)
        return; /* sub-agents are seen by their tools and their answer */
    if (str_eqz(type, "message_start")) {
        set(&ev->streamed, json_get_strv(json_get_obj(event, "message"), "id"));
    } else if (str_eqz(type, "content_block_start")) {
        on_block_start(ev, event);
    } else if (str_eqz(type, "content_block_delta")) {
        on_block_delta(ev, event);
    } else if (str_eqz(type, "content_block_stop")) {
        on_block_stop(ev);
    } else if (str_eqz(type, "message_stop")) {
        emit_reasoning_end(ev->emitter);
        emit_text_end(ev->emitter);
    }
}

/* ---- assistant and user ---- */

static void whole_tool(ClaudeEvents *ev, const json_t *block, const char *parent)
{
    CLEANUP_BUF Buf args = BUF_INIT(RESULT_MAX);
    const json_t *input = json_object_get(block, "input");
    Str id = json_get_strv(block, "id");

    if (emit_tool_known(ev->emitter, id))
        return;
    emit_tool_start(ev->emitter, id, json_get_strv(block, "name"), str_from(parent));
    if (input)
        json_write_plain(&args, input);
    emit_tool_args(ev->emitter, id, buf_str(&args));
    emit_tool_ready(ev->emitter, id);
}

static void whole_block(ClaudeEvents *ev, const json_t *block, const ClaudeLine *l)
{
    Str type = json_get_strv(block, "type");

    if (str_eqz(type, "tool_use") || str_eqz(type, "server_tool_use")) {
        whole_tool(ev, block, l->parent);
    } else if (l->parent) {
        return; /* a sub-agent talks to the main agent, not to the user */
    } else if (str_eqz(type, "text")) {
        emit_text(ev->emitter, json_get_strv(block, "text"));
        emit_text_end(ev->emitter);
    } else if (str_eqz(type, "thinking")) {
        emit_reasoning(ev->emitter, json_get_strv(block, "thinking"));
        emit_reasoning_end(ev->emitter);
    }
}

static void on_assistant(ClaudeEvents *ev, const ClaudeLine *l)
{
    const json_t *message = json_get_obj(l->json, "message");
    const json_t *content = json_get_arr(message, "content");
    const json_t *block;
    size_t i;

    if (!l->parent && ev->streamed && str_eqz(json_get_strv(message, "id"), ev->streamed))
        return;
    bool synthetic = str_eqz(json_get_strv(message, "model"), "<synthetic>");
    json_array_foreach(content, i, block)
    {
        if (!synthetic)
            whole_block(ev, block, l);
        else if (!l->parent)
            set(&ev->synthetic, json_get_strv(block, "text"));
    }
}

static void on_user(ClaudeEvents *ev, const ClaudeLine *l)
{
    const json_t *content = json_get_arr(json_get_obj(l->json, "message"), "content");
    const json_t *block;
    size_t i;

    if (json_get_bool(l->json, "isReplay", false))
        return;
    json_array_foreach(content, i, block)
    {
        CLEANUP_BUF Buf text = BUF_INIT(RESULT_MAX);
        Str id = json_get_strv(block, "tool_use_id");
        if (!str_eqz(json_get_strv(block, "type"), "tool_result"))
            continue;
        if (ev->answered && str_eqz(id, ev->answered))
            continue;
        claude_result_text(json_object_get(block, "content"), &text);
        emit_tool_result(ev->emitter, id, buf_str(&text), json_get_bool(block, "is_error", false));
    }
}

/* ---- notices ---- */

/* {"kind": kind, <members of the line>} */
static void agent_status(ClaudeEvents *ev, const ClaudeLine *l, const char *kind, const char *const *members,
                         size_t n)
{
    CLEANUP_JSON json_t *value = json_object();

    json_object_set_new(value, "kind", json_string(kind));
    for (size_t i = 0; i < n; i++) {
        json_t *v = json_object_get(l->json, members[i]);
        if (v)
            json_object_set(value, members[i], v);
    }
    emit_custom(ev->emitter, "ambient:agent_status", value, false);
}

static void on_api_retry(ClaudeEvents *ev, const ClaudeLine *l)
{
    static const char *const members[] = {"attempt", "max_retries", "retry_delay_ms", "error_status",
                                          "error"};
    char text[512], status[48] = "";
    int64_t code = json_get_int(l->json, "error_status", 0);
    Str error = json_get_strv(l->json, "error");

    agent_status(ev, l, "api_retry", members, ARRAY_LEN(members));
    if (ev->retrying)
        return;
    ev->retrying = true;
    if (code > 0)
        snprintf(status, sizeof(status), " with status %lld", (long long)code);
    snprintf(text, sizeof(text),
             "The model API failed%s%s" STR_FMT "%s; the agent tries again (up to %lld times).", status,
             error.len ? " (" : "", STR_ARG(error), error.len ? ")" : "",
             (long long)json_get_int(l->json, "max_retries", 0));
    emit_notice(ev->emitter, text);
}

static void on_status(ClaudeEvents *ev, const ClaudeLine *l)
{
    bool compacting = str_eqz(json_get_strv(l->json, "status"), "compacting");

    if (compacting && !ev->compacting) {
        agent_status(ev, l, "compacting", NULL, 0);
        emit_notice(ev->emitter, "The agent is compacting its conversation.");
    }
    ev->compacting = compacting;
}

static void on_permission_denied(ClaudeEvents *ev, const ClaudeLine *l)
{
    static const char *const members[] = {"tool_name", "tool_use_id", "message"};

    agent_status(ev, l, "permission_denied", members, ARRAY_LEN(members));
}

static void on_rate_limit(ClaudeEvents *ev, const ClaudeLine *l)
{
    static const char *const members[] = {"rate_limit_info"};
    Str status = json_get_strv(json_get_obj(l->json, "rate_limit_info"), "status");

    if (!str_eqz(status, "allowed"))
        agent_status(ev, l, "rate_limit", members, ARRAY_LEN(members));
}

static void task_event(ClaudeEvents *ev, const ClaudeLine *l, const char *name, const char *const *members,
                       size_t n, const char *status)
{
    CLEANUP_JSON json_t *value = json_object();

    for (size_t i = 0; i < n; i++) {
        json_t *v = json_object_get(l->json, members[i]);
        if (v)
            json_object_set(value, members[i], v);
    }
    if (status)
        json_object_set_new(value, "status", json_string(status));
    emit_custom(ev->emitter, name, value, !str_eqz(STR("task:progress"), name));
}

/* The oldest goes when there are too many. */
static json_t *task_of(ClaudeEvents *ev, const char *id)
{
    json_t *task = json_object_get(ev->tasks, id);

    if (task)
        return task;
    if (json_object_size(ev->tasks) >= TASKS_MAX)
        json_object_del(ev->tasks, json_object_iter_key(json_object_iter(ev->tasks)));
    task = json_object();
    json_object_set_new(task, "task_id", json_string(id));
    json_object_set_new(ev->tasks, id, task);
    return task;
}

static void keep_task(ClaudeEvents *ev, const ClaudeLine *l)
{
    static const char *const members[] = {"description", "task_type",   "status",        "summary",
                                          "usage",       "output_file", "last_tool_name"};
    const char *id = json_get_str(l->json, "task_id");

    if (!id || !*id)
        return;
    json_t *task = task_of(ev, id);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        json_t *v = json_object_get(l->json, members[i]);
        if (v)
            json_object_set(task, members[i], v);
    }
    if (l->type == CLAUDE_TASK_STARTED)
        json_object_set_new(task, "status", json_string("running"));
}

/* The process is gone, and what it ran in the background. */
static void end_tasks(ClaudeEvents *ev)
{
    const char *id;
    json_t *task;

    json_object_foreach(ev->tasks, id, task)
    {
        if (str_eqz(json_get_strv(task, "status"), "running"))
            json_object_set_new(task, "status", json_string("stopped"));
    }
}

static void on_task(ClaudeEvents *ev, const ClaudeLine *l)
{
    static const char *const started[] = {"task_id", "description", "task_type", "session_id"};
    static const char *const progress[] = {"task_id", "description", "usage", "last_tool_name"};
    static const char *const ended[] = {"task_id", "status", "summary", "usage", "output_file"};
    Str id = json_get_strv(l->json, "task_id");

    keep_task(ev, l);
    if (l->type == CLAUDE_TASK_PROGRESS) {
        task_event(ev, l, "task:progress", progress, ARRAY_LEN(progress), NULL);
    } else if (l->type == CLAUDE_TASK_ENDED) {
        map_remove(ev->agents, id);
        task_event(ev, l, "task:completed", ended, ARRAY_LEN(ended), NULL);
    } else if (l->type == CLAUDE_TASK_STARTED) {
        /* A command in the background may be a server that never ends; an agent has an answer to wait for. */
        if (str_find(json_get_strv(l->json, "task_type"), STR("agent")) >= 0)
            map_put(ev->agents, id, ev);
        task_event(ev, l, "task:started", started, ARRAY_LEN(started), "running");
    }
}

void claude_events_line(ClaudeEvents *ev, const ClaudeLine *l)
{
    switch (l->type) {
    case CLAUDE_STREAM:
        ev->retrying = false;
        on_stream(ev, l);
        break;
    case CLAUDE_ASSISTANT:
        on_assistant(ev, l);
        break;
    case CLAUDE_USER:
        on_user(ev, l);
        break;
    case CLAUDE_STATUS:
        on_status(ev, l);
        break;
    case CLAUDE_API_RETRY:
        on_api_retry(ev, l);
        break;
    case CLAUDE_PERMISSION_DENIED:
        on_permission_denied(ev, l);
        break;
    case CLAUDE_RATE_LIMIT:
        on_rate_limit(ev, l);
        break;
    case CLAUDE_TASK_STARTED:
    case CLAUDE_TASK_PROGRESS:
    case CLAUDE_TASK_ENDED:
        on_task(ev, l);
        break;
    default:
        break;
    }
}

json_t *claude_run_result(const ClaudeLine *l)
{
    static const char *const members[] = {"is_error",       "duration_ms", "duration_api_ms",  "num_turns",
                                          "total_cost_usd", "usage",       "structured_output"};
    json_t *r = json_object();

    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        json_t *v = json_object_get(l->json, members[i]);
        if (v)
            json_object_set(r, members[i], v);
    }
    if (claude_result_is_aborted(l)) {
        json_object_set_new(r, "is_error", json_false());
        json_object_set_new(r, "interrupted", json_true());
    }
    return r;
}
