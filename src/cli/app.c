#include "app.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <poll.h>
#include "base/mem.h"
#include "base/vec.h"
#include "http/url.h"

#define PAGE 500
#define TRIES 3

int app_init(App *app, const Args *args, Err *err)
{
    app->args = args;
    int rc = config_load(opt_str(args, "context"), &app->cfg, err);
    if (rc == 0)
        rc = loop_new(&app->loop, err);
    return rc;
}

void app_done(App *app)
{
    app->client = client_free(app->client);
    app->renewal = renewal_free(app->renewal);
    app->renew_timer = timer_free(app->renew_timer);
    app->loop = loop_free(app->loop);
    app->token = token_source_free(app->token);
    app->cfg = config_free(app->cfg);
}

static const char *api_url(App *app)
{
    const char *flag = opt_str(app->args, "api-url");
    return flag ? flag : config_get(app->cfg, "api_url", NULL);
}

/* ---- the token: fresh at the start, and kept so while the command runs ---- */

typedef struct Renewing {
    bool done;
    Err err;
} Renewing;

static void on_renewed(void *arg, const Err *err)
{
    Renewing *r = arg;
    r->done = true;
    if (err)
        r->err = *err;
}

static void use_token(App *app)
{
    const char *token = config_get(app->cfg, "access_token", NULL);
    if (app->token && token)
        token_source_set(app->token, str_from(token));
}

int app_renew(App *app, Err *err)
{
    if (!renew_possible(app->cfg))
        return err_set(err, ERR_UNAUTHENTICATED, "not logged in; run 'acpctl login'");
    Renewing r = {0};
    Renewal *renewal = renewal_start(app->loop, app->cfg, on_renewed, &r);
    client_wait(app->loop, &r.done);
    renewal_free(renewal);
    if (r.err.code)
        return err_set(err, r.err.code, "%s", r.err.msg);
    use_token(app);
    return 0;
}

/* A token that can still be used is, when the issuer cannot be asked. */
static int renew_if_due(App *app, Err *err)
{
    Err e = {0};
    WallUsec now = clock_wall(&clock_system);
    if (!renew_possible(app->cfg) || now.us < renew_at(app->cfg).us)
        return 0;
    int rc = app_renew(app, &e);
    return rc < 0 && now.us >= renew_end(app->cfg).us ? err_set(err, e.code, "%s", e.msg) : 0;
}

#define RENEW_AGAIN (10 * USEC_PER_SEC)

static void arm_renewal(App *app, Usec at_least)
{
    int64_t at = renew_at(app->cfg).us, now = clock_wall(&clock_system).us;
    Usec left = at > now ? (Usec)(at - now) : 0;
    if (at != INT64_MAX)
        timer_arm(app->renew_timer, left > at_least ? left : at_least);
}

static void on_kept_fresh(void *arg, const Err *err)
{
    App *app = arg;
    app->renewal = renewal_free(app->renewal);
    if (!err)
        use_token(app);
    arm_renewal(app, err ? RENEW_AGAIN : USEC_PER_SEC);
}

static void on_renew_timer(void *arg)
{
    App *app = arg;
    if (renew_possible(app->cfg))
        app->renewal = renewal_start(app->loop, app->cfg, on_kept_fresh, app);
}

static void keep_fresh(App *app)
{
    if (!renew_possible(app->cfg))
        return;
    app->renew_timer = timer_new(app->loop, on_renew_timer, app);
    arm_renewal(app, USEC_PER_SEC);
}

int app_client(App *app, Err *err)
{
    if (app->client)
        return 0;
    int rc = renew_if_due(app, err);
    if (rc < 0)
        return rc;
    const char *token = config_get(app->cfg, "access_token", NULL), *url = api_url(app);
    Url u;
    if (!token)
        return err_set(err, ERR_UNAUTHENTICATED, "not logged in; run 'acpctl login' first");
    if (url_parse(str_from(url), &u, NULL) < 0 || !u.host.len)
        return err_set(err, ERR_USAGE,
                       "invalid API URL \"%s\": must include scheme and host (e.g. https://api.corp.net)",
                       url);
    app->insecure =
        config_get_bool(app->cfg, "insecure_tls_verify") || opt_bool(app->args, "insecure-skip-tls-verify");
    app->token = token_source_static(str_from(token));
    keep_fresh(app);
    Usec timeout = (Usec)config_get_int(app->cfg, "request_timeout") * USEC_PER_SEC;
    if (opt_given(app->args, "request-timeout"))
        timeout = opt_duration(app->args, "request-timeout");
    ClientOptions o = {
        .api_url = url,
        .grpc_address = opt_given(app->args, "api-url") ? NULL : config_get(app->cfg, "grpc_url", NULL),
        .grpc_tls = str_eqz(u.scheme, "https"),
        .grpc_host_pattern = getenv("AMBIENT_OPENSHIFT_PATTERN"),
        .token = app->token,
        .project = app_project_or_null(app),
        .user_agent = "acpctl/" AMBIENT_VERSION,
        .ca_file = config_get(app->cfg, "ca_file", NULL),
        .insecure_skip_verify = app->insecure,
        .request_timeout = timeout ? timeout : USEC_NEVER,
    };
    return client_new(app->loop, &o, &app->client, err);
}

const char *app_project_or_null(App *app)
{
    if (app->project)
        return app->project;
    const char *flag = opt_str(app->args, "project-id");
    return flag && *flag ? flag : config_get(app->cfg, "project", NULL);
}

int app_project(App *app, const char **ret, Err *err)
{
    const char *p = app_project_or_null(app);
    if (!p)
        return err_set(
            err, ERR_USAGE,
            "no project set; use --project-id, run 'acpctl project <name>' or set AMBIENT_PROJECT");
    *ret = p;
    return 0;
}

/* ---- calls ---- */

typedef struct Waiting {
    Exchange *x;
    bool done, reached, begun;
    unsigned retry_after;
    Failure failure;
    Err err;
} Waiting;

static void note_failure(Failure *f, const ClientAnswer *a)
{
    f->status = a->status;
    snprintf(f->code, sizeof(f->code), STR_FMT, STR_ARG(json_get_strv(a->body, "code")));
    snprintf(f->operation, sizeof(f->operation), STR_FMT, STR_ARG(json_get_strv(a->body, "operation_id")));
}

static void on_answer(void *arg, const ClientAnswer *a, const Err *err)
{
    Waiting *w = arg;
    w->done = true;
    w->reached = a->reached;
    w->retry_after = a->retry_after;
    if (err) {
        w->err = *err;
        note_failure(&w->failure, a);
        return;
    }
    w->x->answer = a->body ? json_incref(a->body) : NULL;
    snprintf(w->x->etag, sizeof(w->x->etag), STR_FMT, STR_ARG(a->etag));
    if (w->x->text && buf_adds(w->x->text, a->text) < 0)
        err_set(&w->err, ERR_TOO_LARGE, "the answer is too large");
}

static void on_bytes(void *arg, Str bytes)
{
    Waiting *w = arg;
    w->begun = true;
    w->x->on_bytes(w->x->arg, bytes);
}

static void call_once(App *app, Waiting *w)
{
    Exchange *x = w->x;
    ClientRequest r = {.method = x->method,
                       .path = x->path,
                       .project = app->project,
                       .body = x->body,
                       .content_type = x->content_type,
                       .accept = x->accept,
                       .if_match = x->if_match,
                       .on_bytes = x->on_bytes ? on_bytes : NULL};
    *w = (Waiting){.x = x};
    client_request(app->client, &r, on_answer, w);
    client_wait(app->loop, &w->done);
}

/* The server may refuse a token before its time: once another one is tried. */
static void call_with_fresh_token(App *app, Waiting *w)
{
    Err e = {0};
    call_once(app, w);
    if (w->err.code != ERR_UNAUTHENTICATED || !renew_possible(app->cfg))
        return;
    if (app_renew(app, &e) < 0)
        w->err = e;
    else
        call_once(app, w);
}

/* A server that cannot be reached at all is told at once: it will not be there in half a second either. */
static bool worth_retrying(const Waiting *w)
{
    return strcmp(w->x->method, "GET") == 0 && w->reached && !w->begun && err_info(w->err.code)->may_retry &&
           w->err.code != ERR_DEADLINE;
}

/* What to do next stands behind what went wrong. */
static int explain_failure(App *app, const Waiting *w, Err *err)
{
    const Err *e = &w->err;
    if (e->code == ERR_UNAUTHENTICATED && !strstr(e->msg, "run 'acpctl login'"))
        return err_set(err, e->code, "%s; run 'acpctl login'", e->msg);
    if (!w->reached && e->code == ERR_UNAVAILABLE)
        return err_set(err, e->code,
                       "%s; is the server running? (context \"%s\"; see 'acpctl config get-contexts')",
                       e->msg, config_context(app->cfg) ? config_context(app->cfg) : "");
    return err_set(err, e->code, "%s", e->msg);
}

int app_exchange(App *app, Exchange *x, Err *err)
{
    int rc = app_client(app, err);
    if (rc < 0)
        return rc;
    Waiting w = {.x = x};
    for (unsigned n = 1;; n++) {
        call_with_fresh_token(app, &w);
        if (!w.err.code || n >= TRIES || !worth_retrying(&w))
            break;
        (void)poll(NULL, 0, w.retry_after ? (int)w.retry_after * 1000 : 100 << n);
    }
    app->failure = w.failure;
    return w.err.code ? explain_failure(app, &w, err) : 0;
}

int app_call(App *app, const char *method, const char *path, const json_t *body, json_t **ret, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(64 * 1024 * 1024);
    if (body)
        json_write(&text, body);
    Exchange x = {.method = method, .path = path, .body = body ? buf_str(&text) : STR_NULL};
    int rc = app_exchange(app, &x, err);
    if (text.data)
        secret_erase(text.data, text.len); /* it may have held one */
    if (ret && rc == 0)
        *ret = x.answer;
    else
        json_decref(x.answer);
    return rc;
}

int app_get(App *app, json_t **ret, Err *err, const char *fmt, ...)
{
    CLEANUP_BUF Buf path = BUF_INIT(8192);
    va_list ap;
    va_start(ap, fmt);
    buf_vaddf(&path, fmt, ap);
    va_end(ap);
    int rc = buf_check(&path, err);
    return rc < 0 ? rc : app_call(app, "GET", path.data, NULL, ret, err);
}

/* Pages until a short one; the first page's head is the answer's. */
int app_list(App *app, const char *path, const char *query, int64_t limit, json_t **ret, Err *err)
{
    CLEANUP_JSON json_t *all = NULL;
    for (int64_t page = 1;; page++) {
        int64_t size = limit > 0 && limit < PAGE ? limit : PAGE;
        CLEANUP_JSON json_t *one = NULL;
        int rc = app_get(app, &one, err, "%s?page=%lld%s%s&size=%lld", path, (long long)page,
                         query ? "&" : "", query ? query : "", (long long)size);
        if (rc < 0)
            return rc;
        json_t *items = json_get_arr(one, "items");
        if (!items)
            return err_set(err, ERR_BAD_GATEWAY, "the server's answer to %s is not a list", path);
        size_t got = json_array_size(items);
        if (page > 1 && got &&
            json_equal(json_array_get(items, 0), json_array_get(json_get_arr(all, "items"), 0)))
            return err_set(err, ERR_BAD_GATEWAY, "the server sends the first page of %s again and again",
                           path);
        if (!all)
            all = json_incref(one);
        else
            json_array_extend(json_get_arr(all, "items"), items);
        size_t have = json_array_size(json_get_arr(all, "items"));
        if (got < (size_t)size || (limit > 0 && have >= (size_t)limit) ||
            have >= (size_t)json_get_int(one, "total", 0))
            break;
    }
    json_t *items = json_get_arr(all, "items");
    while (limit > 0 && json_array_size(items) > (size_t)limit)
        json_array_remove(items, json_array_size(items) - 1);
    size_t have = json_array_size(items);
    json_object_set_new(all, "size", json_integer((json_int_t)have));
    if (have < (size_t)json_get_int(all, "total", 0))
        fprintf(stderr, "(showing %zu of %lld)\n", have, (long long)json_get_int(all, "total", 0));
    *ret = TAKE(all);
    return 0;
}

char *path_segment(const char *text)
{
    CLEANUP_BUF Buf b = BUF_INIT(8192);
    url_escape_segment(&b, str_from(text));
    return buf_take(&b);
}

void search_equal(Buf *b, const char *member, const char *value)
{
    buf_addf(b, "%s%s = '", b->len ? " and " : "", member);
    for (const char *p = value; *p; p++) {
        buf_addc(b, *p);
        if (*p == '\'')
            buf_addc(b, '\'');
    }
    buf_addc(b, '\'');
}

char *search_member(const char *member, const char *value)
{
    CLEANUP_BUF Buf plain = BUF_INIT(4096);
    CLEANUP_BUF Buf b = BUF_INIT(16384);
    search_equal(&plain, member, value);
    buf_addz(&b, "search=");
    url_escape_query(&b, buf_str(&plain));
    return buf_take(&b);
}

char *search_name(const char *name)
{
    return search_member("name", name);
}

void body_str(json_t *body, const Args *a, const char *opt, const char *member)
{
    if (opt_given(a, opt))
        json_object_set_new(body, member, json_strv(str_from(opt_str(a, opt))));
}

void body_int(json_t *body, const Args *a, const char *opt, const char *member)
{
    if (opt_int(a, opt))
        json_object_set_new(body, member, json_integer(opt_int(a, opt)));
}

void body_float(json_t *body, const Args *a, const char *opt, const char *member)
{
    if (opt_given(a, opt) && (opt_float(a, opt) < 0 || opt_float(a, opt) > 0))
        json_object_set_new(body, member, json_real(opt_float(a, opt)));
}

int body_env(json_t *body, const Args *a, Err *err)
{
    const char *const *words;
    size_t n = opt_list(a, "env", &words);
    if (n == 0)
        return 0;
    CLEANUP_JSON json_t *env = json_object();
    for (size_t i = 0; i < n; i++) {
        Str value = str_from(words[i]), name = str_cut(&value, '=');
        if (!value.ptr || !name.len)
            return err_set(err, ERR_USAGE, "--env %s: must be NAME=VALUE", words[i]);
        CLEANUP_FREE char *key = str_dup(name);
        json_object_set_new(env, key, json_strv(value));
    }
    CLEANUP_BUF Buf text = BUF_INIT(1024 * 1024);
    json_write_plain(&text, env);
    json_object_set_new(body, "environment_variables", json_strv(buf_str(&text)));
    return 0;
}

int app_confirm(App *app, Err *err, const char *fmt, ...)
{
    if (opt_bool(app->args, "yes"))
        return 1;
    char line[64];
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    fputs("? [y/N]: ", stdout);
    fflush(stdout);
    Str answer = fgets(line, sizeof(line), stdin) ? str_trim(str_from(line)) : STR_NULL;
    if (!answer.len || str_find_byte(answer, ' ') >= 0)
        return err_set(err, ERR_USAGE, "interactive confirmation required; use --yes/-y to skip");
    if (str_ieq(answer, STR("y")) || str_ieq(answer, STR("yes")))
        return 1;
    puts("Aborted.");
    return 0;
}
