/* Files of the workspace: /content as the reference has it, /workspace and /files as the API server's own
 * paths. */
#include "http-internal.h"

#include <errno.h>
#include <unistd.h>
#include "base/file.h"
#include "crypto/crypto.h"
#include "workspace.h"

#define LIST_MAX ((size_t)8 << 20)
#define PIECE ((size_t)64 << 10)
#define PIECES_PER_TURN 4
#define UPLOADS "file-uploads/"

/* ---- lists ---- */

static void reply_list(HttpReq *req, Buf *body)
{
    http_reply_header(req, "Content-Type", STR("application/json"));
    http_reply_buf(req, 200, body);
}

static bool list(HttpApi *a, HttpReq *req, Str path, Buf *out)
{
    Err err = {0};

    if (workspace_list(runner_workspace(a->runner), path, out, &err) == 0)
        return true;
    reply_err(req, &err);
    return false;
}

static void get_list(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_BUF Buf out = BUF_INIT(LIST_MAX);

    if (list(a, req, http_req_query(req, "path"), &out))
        reply_list(req, &out);
}

/* The same under the name that clients of the API server look for. */
static void list_files(HttpApi *a, HttpReq *req, Str path)
{
    CLEANUP_BUF Buf items = BUF_INIT(LIST_MAX);
    CLEANUP_BUF Buf out = BUF_INIT(LIST_MAX);

    if (!list(a, req, path, &items))
        return;
    (void)buf_addz(&out, "{\"files\"");
    (void)buf_adds(&out, str_slice(buf_str(&items), sizeof("{\"items\"") - 1, items.len));
    reply_list(req, &out);
}

static void get_workspace(HttpApi *a, HttpReq *req, Str tail)
{
    list_files(a, req, http_req_query(req, "path"));
}

static char *upload_path(Str path)
{
    return xasprintf(UPLOADS STR_FMT, STR_ARG(path));
}

static void get_files(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_FREE char *path = upload_path(http_req_query(req, "path"));

    list_files(a, req, str_from(path));
}

/* ---- reading: a piece at a time, as fast as the client takes it ---- */

typedef struct Download {
    Loop *loop;
    HttpStream *stream;
    int fd;
    Timer *next;
} Download;

static void download_free(Download *d)
{
    close(d->fd);
    timer_free(d->next);
    loop_defer(d->loop, free, d);
}

static void download_next(void *arg)
{
    Download *d = arg;
    char piece[PIECE];

    for (int i = 0; i < PIECES_PER_TURN && http_stream_writable(d->stream); i++) {
        ssize_t n = read(d->fd, piece, sizeof(piece));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            HttpStream *s = d->stream;
            download_free(d);
            if (n < 0)
                http_stream_abort(s);
            else
                http_stream_end(s);
            return;
        }
        http_stream_write(d->stream, (Str){piece, (size_t)n});
    }
    if (http_stream_writable(d->stream))
        timer_arm(d->next, 0);
}

static void download_gone(void *arg)
{
    download_free(arg);
}

static void download(HttpApi *a, HttpReq *req, Str path)
{
    static const HttpStreamOps ops = {.on_drain = download_next, .on_gone = download_gone};
    CLEANUP_FD int fd = -1;
    uint64_t size;
    Err err = {0};

    if (workspace_open(runner_workspace(a->runner), path, &fd, &size, &err) < 0) {
        reply_err(req, &err);
        return;
    }
    Download *d = xnew(Download);
    d->loop = a->loop;
    d->fd = take_fd(&fd);
    d->next = timer_new(a->loop, download_next, d);
    http_reply_header(req, "Content-Type", STR("application/octet-stream"));
    http_reply_header(req, "X-Content-Type-Options", STR("nosniff"));
    d->stream = http_stream_start(req, 200, &ops, d);
    timer_arm(d->next, 0);
}

static void get_file(HttpApi *a, HttpReq *req, Str tail)
{
    download(a, req, http_req_query(req, "path"));
}

static void get_workspace_file(HttpApi *a, HttpReq *req, Str tail)
{
    download(a, req, tail);
}

static void get_upload(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_FREE char *path = upload_path(tail);

    download(a, req, str_from(path));
}

/* ---- writing and deleting ---- */

static void write_file(HttpApi *a, HttpReq *req, Str path, Str content)
{
    Err err = {0};

    if (workspace_write(runner_workspace(a->runner), path, content, &err) < 0)
        reply_err(req, &err);
    else
        reply_message(req, "ok");
}

static void post_write(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_JSON json_t *body = read_object(req);
    CLEANUP_BUF Buf bytes = BUF_INIT((size_t)16 << 20);
    Str content = json_get_strv(body, "content");

    if (!body)
        return;
    if (!json_is_string(json_object_get(body, "content")) || !json_get_strv(body, "path").len) {
        reply_detail(req, 400, "path and content are required");
        return;
    }
    if (str_eqz(json_get_strv(body, "encoding"), "base64")) {
        if (base64_read(content, &bytes) < 0) {
            reply_detail(req, 400, "content is not base64");
            return;
        }
        content = buf_str(&bytes);
    }
    write_file(a, req, json_get_strv(body, "path"), content);
}

static void put_workspace(HttpApi *a, HttpReq *req, Str tail)
{
    write_file(a, req, tail, http_req_body(req));
}

static void put_upload(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_FREE char *path = upload_path(tail);

    write_file(a, req, str_from(path), http_req_body(req));
}

static void delete_path(HttpApi *a, HttpReq *req, Str path)
{
    Err err = {0};
    int rc = workspace_delete(runner_workspace(a->runner), path, &err);

    if (rc == -ERR_NOT_FOUND)
        reply_detail(req, 404, "file not found");
    else if (rc < 0)
        reply_err(req, &err);
    else
        reply_message(req, "file deleted successfully");
}

static void delete_content(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_JSON json_t *body = read_object(req);

    if (body)
        delete_path(a, req, json_get_strv(body, "path"));
}

static void delete_workspace(HttpApi *a, HttpReq *req, Str tail)
{
    delete_path(a, req, tail);
}

static void delete_upload(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_FREE char *path = upload_path(tail);

    delete_path(a, req, str_from(path));
}

static const ApiRoute rows[] = {
    {"GET", "/content/list", get_list, false},
    {"GET", "/content/file", get_file, false},
    {"POST", "/content/write", post_write, false},
    {"DELETE", "/content/delete", delete_content, false},
    {"GET", "/workspace", get_workspace, false},
    {"GET", "/workspace/**", get_workspace_file, false},
    {"PUT", "/workspace/**", put_workspace, false},
    {"DELETE", "/workspace/**", delete_workspace, false},
    {"GET", "/files", get_files, false},
    {"GET", "/files/**", get_upload, false},
    {"PUT", "/files/**", put_upload, false},
    {"DELETE", "/files/**", delete_upload, false},
};
const ApiTable api_content = {rows, ARRAY_LEN(rows)};
