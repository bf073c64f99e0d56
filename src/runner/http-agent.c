/* What the agent itself knows: its model, its MCP servers, its background tasks; and what people think of it.
 */
#include "http-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"

#define MODEL_LEN_MAX 255
#define OUTPUT_MAX ((size_t)10 << 20)
#define MCP_KEEP (5 * USEC_PER_SEC)
#define FEEDBACK_MAX ((size_t)1 << 20)

static const BridgeOps *ops_of(const HttpApi *a)
{
    const Bridge *b = runner_bridge(a->runner);

    return b ? b->ops : NULL;
}

static void forget_answer(Later *l)
{
    const BridgeOps *ops = ops_of(l->api);

    if (ops && ops->forget)
        ops->forget(runner_bridge(l->api->runner), l);
}

/* False: nobody runs who could be asked. */
static bool ask(Later *l, const char *subtype, const char *key, const char *value, BridgeAnswer done)
{
    const BridgeOps *ops = ops_of(l->api);

    return ops && ops->ask && ops->ask(runner_bridge(l->api->runner), subtype, key, value, done, l);
}

/* ---- model ---- */

static void reply_model(HttpReq *req, const char *message, const char *model, const char *previous)
{
    CLEANUP_JSON json_t *o = json_object();

    json_object_set_new(o, "message", json_string(message));
    json_object_set_new(o, "model", json_string(model));
    if (previous)
        json_object_set_new(o, "previousModel", json_string(previous));
    reply_json(req, 200, o);
}

static void switch_model(HttpApi *a, HttpReq *req, const char *model)
{
    const char *now = runner_config(a->runner)->model;
    CLEANUP_FREE char *previous = xstrdup(now ? now : "");

    runner_set_model(a->runner, model);
    reply_model(req, "Model switched", model, previous);
}

static void on_model(void *arg, const json_t *response, const char *error)
{
    Later *l = arg;
    HttpApi *a = l->api;
    CLEANUP_FREE char *model = xstrdup(l->text);
    HttpReq *req = later_take(l);

    a->switching = false;
    if (error)
        reply_detail(req, 502, error);
    else
        switch_model(a, req, model);
}

static void forget_model(Later *l)
{
    l->api->switching = false;
    forget_answer(l);
}

static void post_model(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_JSON json_t *body = read_object(req);
    Str model = str_trim(json_get_strv(body, "model"));
    const char *now = runner_config(a->runner)->model;

    if (!body)
        return;
    if (!model.len || model.len > MODEL_LEN_MAX || model.ptr[0] == '-')
        reply_detail(req, 400, model.len ? "model is not valid" : "model is required");
    else if (str_eqz(model, now))
        reply_model(req, "Model unchanged", now, NULL);
    else if (runner_busy(a->runner))
        reply_detail(req, 422, "The model cannot be switched while a run is active");
    else if (a->switching)
        reply_detail(req, 409, "The model is being switched already");
    else {
        Later *l = later_new(a, req, forget_model);
        l->text = str_dup(model);
        a->switching = ask(l, "set_model", "model", l->text, on_model);
        if (!a->switching)
            on_model(l, NULL, NULL); /* the next process starts with it */
    }
}

/* ---- MCP servers ---- */

static json_t *server_of(const json_t *s)
{
    json_t *o = json_object();
    json_t *tools = json_get_arr(s, "tools");
    Str version = json_get_strv(json_get_obj(s, "serverInfo"), "version");
    Str title = json_get_strv(json_get_obj(s, "serverInfo"), "name");

    json_object_set_new(o, "name", json_strv(json_get_strv(s, "name")));
    json_object_set_new(o, "displayName", json_strv(title.len ? title : json_get_strv(s, "name")));
    json_object_set_new(o, "status", json_strv(json_get_strv(s, "status")));
    json_object_set_new(o, "version", json_strv(version));
    if (tools)
        json_object_set(o, "tools", tools);
    else
        json_object_set_new(o, "tools", json_array());
    return o;
}

static json_t *mcp_answer(json_t *servers)
{
    json_t *o = json_object();

    json_object_set_new(o, "totalCount", json_integer((json_int_t)json_array_size(servers)));
    json_object_set_new(o, "servers", servers);
    return o;
}

static void on_mcp(void *arg, const json_t *response, const char *error)
{
    Later *l = arg;
    HttpApi *a = l->api;
    HttpReq *req = later_take(l);
    json_t *servers = json_array();
    const json_t *s;
    size_t i;

    json_array_foreach(json_get_arr(response, "mcpServers"), i, s)
        json_array_append_new(servers, server_of(s));
    json_decref(a->mcp);
    a->mcp = mcp_answer(servers);
    a->mcp_until = usec_add(loop_now(a->loop), error ? 0 : MCP_KEEP);
    if (error)
        json_object_set_new(a->mcp, "error", json_string(error));
    reply_json(req, 200, a->mcp);
}

/* Nobody runs who would know: what is configured waits. */
static json_t *configured_servers(const RunnerConfig *c)
{
    CLEANUP_JSON json_t *config = NULL;
    json_t *servers = json_array();
    const char *name;
    json_t *value;

    if (c->mcp_config && *c->mcp_config)
        (void)json_parse(str_from(c->mcp_config), &config, NULL);
    else if (c->mcp_config_file && *c->mcp_config_file)
        (void)json_parse_file(c->mcp_config_file, (size_t)1 << 20, &config, NULL);
    json_object_foreach(json_get_obj(config, "mcpServers"), name, value)
    {
        CLEANUP_JSON json_t *s = json_object();
        json_object_set_new(s, "name", json_string(name));
        json_object_set_new(s, "status", json_string("pending"));
        json_array_append_new(servers, server_of(s));
    }
    return servers;
}

static void get_mcp(HttpApi *a, HttpReq *req, Str tail)
{
    if (a->mcp && loop_now(a->loop) < a->mcp_until) {
        reply_json(req, 200, a->mcp);
        return;
    }
    Later *l = later_new(a, req, forget_answer);
    if (ask(l, "mcp_status", NULL, NULL, on_mcp))
        return;
    CLEANUP_JSON json_t *o = mcp_answer(configured_servers(runner_config(a->runner)));
    reply_json(later_take(l), 200, o);
}

/* ---- background tasks ---- */

static const json_t *tasks_of(const HttpApi *a)
{
    const BridgeOps *ops = ops_of(a);

    return ops && ops->tasks ? ops->tasks(runner_bridge(a->runner)) : NULL;
}

static void get_tasks(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_JSON json_t *o = json_object();
    json_t *list = json_array();
    const char *id;
    json_t *task;

    json_object_foreach((json_t *)(uintptr_t)tasks_of(a), id, task) json_array_append(list, task);
    json_object_set_new(o, "tasks", list);
    json_object_set_new(o, "total", json_integer((json_int_t)json_array_size(list)));
    reply_json(req, 200, o);
}

static bool task_id_ok(Str id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
              c == '-'))
            return false;
    }
    return id.len > 0 && id.len <= 128;
}

/* Answers by itself and returns NULL when there is none. */
static const json_t *find_task(HttpApi *a, HttpReq *req, Str id)
{
    CLEANUP_FREE char *key = str_dup(id);
    const json_t *task = json_object_get(tasks_of(a), key);

    if (task_id_ok(id) && task)
        return task;
    if (task_id_ok(id))
        reply_detail(req, 404, "Task not found");
    else
        reply_detail(req, 400, "Invalid task id");
    return NULL;
}

static void on_stopped(void *arg, const json_t *response, const char *error)
{
    Later *l = arg;
    HttpReq *req = later_take(l);

    if (error)
        reply_detail(req, 502, error);
    else
        reply_message(req, "stop signal sent");
}

static void post_stop(HttpApi *a, HttpReq *req, Str id)
{
    const json_t *task = find_task(a, req, id);

    if (!task)
        return; /* and the request is gone, with its id */
    Str status = json_get_strv(task, "status");
    CLEANUP_FREE char *text = str_dup(id);
    if (!str_eqz(status, "running")) {
        CLEANUP_FREE char *message = xasprintf("Task already " STR_FMT, STR_ARG(status));
        reply_message(req, message);
        return;
    }
    Later *l = later_new(a, req, forget_answer);
    if (!ask(l, "stop_task", "task_id", text, on_stopped))
        reply_detail(later_take(l), 503, "No agent runs");
}

/* Where agents keep such files; the kernel says where the file really is. */
static bool place_ok(const HttpApi *a, int fd)
{
    const char *home =
        getenv("HOME"); // NOLINT(concurrency-mt-unsafe): nobody changes the environment any more
    char link[48], real[4096];
    CLEANUP_FREE char *claude = xasprintf("%s/.claude/", home ? home : "/nonexistent");

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, real, sizeof(real));
    Str path = {real, n > 0 && n < (ssize_t)sizeof(real) ? (size_t)n : 0};
    return str_starts(path, STR("/tmp/")) || str_starts(path, str_from(claude));
}

/* Each line as JSON, or as {"raw": line}. */
static json_t *lines_of(Str text)
{
    json_t *list = json_array();

    while (text.ptr && text.len) {
        Str line = str_cut(&text, '\n');
        json_t *value = NULL;
        if (!str_trim(line).len)
            continue;
        if (json_parse(line, &value, NULL) < 0) {
            value = json_object();
            json_object_set_new(value, "raw", json_strv(line));
        }
        json_array_append_new(list, value);
    }
    return list;
}

static void get_output(HttpApi *a, HttpReq *req, Str id)
{
    const json_t *task = find_task(a, req, id);
    const char *path = json_get_str(task, "output_file");
    CLEANUP_BUF Buf text = BUF_INIT(OUTPUT_MAX + 1);
    CLEANUP_JSON json_t *o = json_object();
    struct stat st;

    if (!task)
        return;
    CLEANUP_FD int fd = path ? open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        reply_detail(req, 404, "The task has no output");
        return;
    }
    if (!place_ok(a, fd) || st.st_nlink > 1) {
        reply_detail(req, 403, "The task's output is not in a place for it");
        return;
    }
    if ((uint64_t)st.st_size > OUTPUT_MAX) {
        reply_detail(req, 413, "The task's output is larger than 10 MiB");
        return;
    }
    for (ssize_t n = 1; n > 0;) {
        char *room = buf_reserve(&text, 65536);
        n = room ? read(fd, room, 65536) : 0;
        if (n > 0)
            buf_commit(&text, (size_t)n);
    }
    json_object_set_new(o, "task_id", json_strv(id));
    json_object_set_new(o, "output", lines_of(buf_str(&text)));
    reply_json(req, 200, o);
}

/* ---- feedback ---- */

static void reply_feedback(HttpReq *req, const json_t *body, bool recorded)
{
    CLEANUP_JSON json_t *o = json_object();
    json_t *event = json_object();

    json_object_set_new(event, "name", json_string("ambient:feedback"));
    json_object_set(event, "metaType", json_object_get(body, "metaType"));
    json_object_set(event, "payload", json_object_get(body, "payload"));
    json_object_set_new(event, "recorded", json_boolean(recorded));
    json_object_set_new(o, "type", json_string("RAW"));
    json_object_set_new(o, "event", event);
    reply_json(req, 200, o);
}

/* It is kept where everything else about the session is: in its log. */
static void post_feedback(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_JSON json_t *body = read_object(req);
    CLEANUP_BUF Buf record = BUF_INIT(FEEDBACK_MAX);
    Str type = json_get_strv(body, "metaType");

    if (!body)
        return;
    if (!str_eqz(json_get_strv(body, "type"), "META")) {
        reply_detail(req, 400, "type must be META");
        return;
    }
    if (!str_eqz(type, "thumbs_up") && !str_eqz(type, "thumbs_down")) {
        reply_detail(req, 400, "metaType must be thumbs_up or thumbs_down");
        return;
    }
    if (!json_is_object(json_object_get(body, "payload"))) {
        reply_fault(req, &(RunInputFault){"dict_type", "payload", "Input should be a valid dictionary"});
        return;
    }
    json_write_plain(&record, body);
    if (record.failed)
        reply_detail(req, 413, "feedback is larger than 1 MiB");
    else
        reply_feedback(req, body, runner_feedback(a->runner, buf_str(&record)));
}

#define BOTH(method, path, handle)                                                                           \
    {method, path, handle, false},                                                                           \
    {                                                                                                        \
        method, "/agui" path, handle, false                                                                  \
    }

static const ApiRoute rows[] = {
    {"POST", "/model", post_model, false},    {"GET", "/mcp/status", get_mcp, false},
    BOTH("POST", "/feedback", post_feedback), BOTH("GET", "/tasks", get_tasks),
    BOTH("POST", "/tasks/*/stop", post_stop), BOTH("GET", "/tasks/*/output", get_output),
};
const ApiTable api_agent = {rows, ARRAY_LEN(rows)};
