/* What routes to the runner ask of it, and the shapes of its answers that differ from ours.
 * rest-core.md 11.4. */
#include "runner-ways.h"

#include "crypto/crypto.h"
#include "http/url.h"

#define UPLOADS "file-uploads/" /* where files of people go, in the workspace */

/* ---- requests ---- */

static int check_path(Str path, Err *err)
{
    if (str_is_utf8(path))
        return 0;
    return err_set(err, ERR_INVALID, "a path must be UTF-8");
}

static void add_path_query(Buf *url, const char *root, Str path)
{
    (void)buf_addz(url, "?path=");
    url_escape_query(url, str_from(root));
    url_escape_query(url, path);
}

static int list_below(Request *q, const char *root, Buf *url, Err *err)
{
    Str path = http_req_query(q->http, "path");
    while (path.len && path.ptr[0] == '/')
        path = str_slice(path, 1, path.len);
    int rc = check_path(path, err);
    if (rc == 0)
        add_path_query(url, root, path);
    return rc;
}

static int list_workspace(Request *q, Buf *url, Buf *body, Err *err)
{
    return list_below(q, "/", url, err);
}

static int list_files(Request *q, Buf *url, Buf *body, Err *err)
{
    return list_below(q, "/" UPLOADS, url, err);
}

static int get_below(Request *q, const char *root, Buf *url, Err *err)
{
    int rc = check_path(q->vars.sub, err);
    if (rc == 0)
        add_path_query(url, root, q->vars.sub);
    return rc;
}

static int get_workspace(Request *q, Buf *url, Buf *body, Err *err)
{
    return get_below(q, "/", url, err);
}

static int get_file(Request *q, Buf *url, Buf *body, Err *err)
{
    return get_below(q, "/" UPLOADS, url, err);
}

static void add_path_member(Buf *body, const char *root, Str path)
{
    CLEANUP_BUF Buf whole = BUF_INIT((size_t)64 << 10);
    (void)buf_addz(&whole, root);
    (void)buf_adds(&whole, path);
    (void)buf_addz(body, "{\"path\":");
    json_write_str_plain(body, buf_str(&whole));
}

/* As base64, whatever it is: the runner's text form would change bytes that are no UTF-8. */
static int put_below(Request *q, const char *root, Buf *body, Err *err)
{
    Str bytes = http_req_body(q->http);
    int rc = check_path(q->vars.sub, err);
    if (rc < 0)
        return rc;
    add_path_member(body, root, q->vars.sub);
    (void)buf_addz(body, ",\"encoding\":\"base64\",\"content\":\"");
    base64_write(body, bytes.ptr ? bytes.ptr : "", bytes.len);
    (void)buf_addz(body, "\"}");
    return 0;
}

static int put_workspace(Request *q, Buf *url, Buf *body, Err *err)
{
    return put_below(q, "", body, err);
}

static int put_file(Request *q, Buf *url, Buf *body, Err *err)
{
    return put_below(q, UPLOADS, body, err);
}

static int delete_below(Request *q, const char *root, Buf *body, Err *err)
{
    int rc = check_path(q->vars.sub, err);
    if (rc < 0)
        return rc;
    add_path_member(body, root, q->vars.sub);
    (void)buf_addc(body, '}');
    return 0;
}

static int delete_workspace(Request *q, Buf *url, Buf *body, Err *err)
{
    return delete_below(q, "", body, err);
}

static int delete_file(Request *q, Buf *url, Buf *body, Err *err)
{
    return delete_below(q, UPLOADS, body, err);
}

/* ---- answers ---- */

/* The runner says `items`; clients of this API look at `files`, as in the stub. */
static void files_of_items(json_t *answer, Buf *out)
{
    (void)buf_addz(out, "{\"files\":");
    json_t *items = json_get_arr(answer, "items");
    if (!items)
        items = json_get_arr(answer, "files");
    CLEANUP_JSON json_t *none = json_array();
    json_write(out, items ? items : none);
    (void)buf_addc(out, '}');
}

static void only_branches(json_t *answer, Buf *out)
{
    CLEANUP_JSON json_t *none = json_array();
    json_t *list = json_is_array(answer) ? answer : json_get_arr(answer, "branches");
    json_write(out, list ? list : none);
}

static void tasks_with_total(json_t *answer, Buf *out)
{
    CLEANUP_JSON json_t *none = json_array();
    json_t *tasks = json_get_arr(answer, "tasks");
    (void)buf_addz(out, "{\"tasks\":");
    json_write(out, tasks ? tasks : none);
    (void)buf_addf(out, ",\"total\":%zu}", json_array_size(tasks));
}

/* ---- ways ---- */

const RunnerWay way_events = {.path = "/events/{id}", .flags = W_EVENTS};
const RunnerWay way_agui_events = {.path = "/events/{id}", .flags = W_EVENTS | W_EMPTY_STREAM};
const RunnerWay way_run = {.path = "/"};
const RunnerWay way_interrupt = {.path = "/interrupt"};
const RunnerWay way_feedback = {.path = "/feedback"};
const RunnerWay way_tasks = {
    .path = "/tasks", .flags = W_QUICK, .stub = "{\"tasks\":[],\"total\":0}", .shape = tasks_with_total};
const RunnerWay way_task_stop = {.path = "/tasks/{task}/stop"};
const RunnerWay way_task_output = {.path = "/tasks/{task}/output"};
const RunnerWay way_capabilities = {
    .path = "/capabilities", .flags = W_QUICK, .stub = "{\"framework\":\"unknown\"}"};
/* It asks the agent's process. */
const RunnerWay way_logs = {.path = "/logs"};
const RunnerWay way_mcp_status = {.path = "/mcp/status", .stub = "{\"servers\":[],\"totalCount\":0}"};
const RunnerWay way_repos_status = {.path = "/repos/status", .stub = "[]"};

const RunnerWay way_workspace = {
    .path = "/content/list", .stub = "{\"files\":[]}", .request = list_workspace, .shape = files_of_items};
const RunnerWay way_workspace_get = {.path = "/content/file", .request = get_workspace};
const RunnerWay way_workspace_put = {.method = "POST", .path = "/content/write", .request = put_workspace};
const RunnerWay way_workspace_delete = {.path = "/content/delete", .request = delete_workspace};
/* Nobody uploaded anything yet: the folder need not be there. */
const RunnerWay way_files = {.path = "/content/list",
                             .flags = W_MISSING_IS_STUB,
                             .stub = "{\"files\":[]}",
                             .request = list_files,
                             .shape = files_of_items};
const RunnerWay way_files_get = {.path = "/content/file", .request = get_file};
const RunnerWay way_files_put = {.method = "POST", .path = "/content/write", .request = put_file};
const RunnerWay way_files_delete = {.path = "/content/delete", .request = delete_file};

const RunnerWay way_git_status = {.path = "/content/git-status",
                                  .stub = "{\"modified\":[],\"staged\":[],\"untracked\":[]}"};
const RunnerWay way_git_remote = {.path = "/content/git-configure-remote"};
const RunnerWay way_git_branches = {
    .path = "/content/git-list-branches", .stub = "[]", .shape = only_branches};
