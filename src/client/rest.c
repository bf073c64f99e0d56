#include "client-internal.h"

#include <assert.h>
#include "http/url.h"

#define API_PATH "/api/ambient/v1"
#define HEADERS_MAX 5
#define EVENT_MAX ((size_t)32 << 20)
#define LINE_SHOWN 200

struct ClientCall {
    ListLink link;
    Client *client;
    HttpCall *http;
    SseDecoder *sse; /* NULL: not a stream */
    ClientDone done;
    void (*on_event)(void *arg, Str id, Str data);
    void (*on_open)(void *arg);
    void (*on_bytes)(void *arg, Str bytes);
    bool (*may_send)(void *arg);
    void *arg;
    bool ended; /* no callback any more; memory goes at the end of the turn */
};

static void call_destroy(void *arg)
{
    ClientCall *call = arg;

    sse_decoder_free(call->sse);
    free(call);
}

/* Ends the call without telling anybody. */
static void call_end(ClientCall *call)
{
    call->ended = true;
    list_remove(&call->link);
    loop_defer(call->client->loop, call_destroy, call);
}

void client_cancel(ClientCall *call)
{
    if (!call || call->ended)
        return;
    http_cancel(call->http);
    call_end(call);
}

void client_call_stop(ListLink *link)
{
    client_cancel(LIST_ENTRY(link, ClientCall, link));
}

/* Error texts go to terminals and logs. */
static void scrub(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
}

static Str first_line(Str text)
{
    text = str_trim(text);
    Str line = str_cut(&text, '\n');
    return str_trim(str_slice(line, 0, LINE_SHOWN));
}

/* Bodies come in three shapes: the API's error object, an object with a reason only, and plain text. */
static void describe_failure(const ClientAnswer *a, Err *err)
{
    char unexpected[64];
    Str code = json_get_strv(a->body, "code");
    Str reason = a->body ? json_get_strv(a->body, "reason") : first_line(a->text);
    Str op = json_get_strv(a->body, "operation_id");

    snprintf(unexpected, sizeof(unexpected), "HTTP %d: unexpected status", a->status);
    if (code.len == 0)
        code = STR("http_error");
    if (reason.len == 0)
        reason = str_from(unexpected);
    err_set(err, err_from_http(a->status),
            "ambient API error %d: " STR_FMT " \xe2\x80\x94 " STR_FMT "%s" STR_FMT "%s", a->status,
            STR_ARG(code), STR_ARG(reason), op.len ? " (operation " : "", STR_ARG(op), op.len ? ")" : "");
    scrub(err->msg);
}

static void finish(ClientCall *call, const ClientAnswer *a, const Err *err)
{
    call_end(call);
    call->done(call->arg, a, err);
}

#define RETRY_AFTER_MAX 30

/* Seconds; the form with a date is not used by our servers and counts as not said. RFC 9110 section 10.2.3.
 */
static unsigned retry_after(Str text)
{
    uint64_t n;

    if (!text.len || str_to_u64(text, &n) < 0)
        return 0;
    return n < RETRY_AFTER_MAX ? (unsigned)n : RETRY_AFTER_MAX;
}

static void on_done(void *arg, const HttpResponse *r, const Err *err)
{
    ClientCall *call = arg;
    CLEANUP_JSON json_t *body = NULL;
    ClientAnswer a = {0};
    Err e = {0};

    if (!r) {
        e = *err;
        a.reached = http_reached(call->http);
        err_wrap(&e, "HTTP request failed");
        finish(call, &a, &e);
        return;
    }
    a.status = r->status;
    a.reached = true;
    a.text = r->body;
    a.etag = r->header(r, "ETag");
    a.retry_after = retry_after(r->header(r, "Retry-After"));
    if (r->body.len > 0 && json_parse(r->body, &body, NULL) == 0)
        a.body = body;
    bool fine = r->status >= 200 && r->status <= 299;
    if (!fine)
        describe_failure(&a, &e);
    finish(call, &a, fine ? NULL : &e);
}

static void on_headers(void *arg, const HttpResponse *r)
{
    ClientCall *call = arg;

    if (r->status >= 200 && r->status <= 299 && call->on_open && !call->ended)
        call->on_open(call->arg);
}

static void on_piece(void *arg, Str bytes)
{
    ClientCall *call = arg;
    Err e = {0};

    if (!call->ended && call->on_bytes) {
        call->on_bytes(call->arg, bytes);
        return;
    }
    if (call->ended || sse_decoder_feed(call->sse, bytes) == 0 || call->ended)
        return;
    http_cancel(call->http);
    err_set(&e, ERR_TOO_LARGE, "an event of the stream has more than %zu bytes", EVENT_MAX);
    finish(call, &(ClientAnswer){.status = 200}, &e);
}

static void on_sse(void *arg, const SseEvent *ev)
{
    ClientCall *call = arg;

    if (!call->ended)
        call->on_event(call->arg, ev->id, ev->data);
}

static size_t make_headers(const Client *c, const ClientRequest *r, HttpHeader out[static HEADERS_MAX])
{
    const char *project = r->project ? r->project : c->project;
    size_t n = 0;

    out[n++] = (HttpHeader){"Accept", str_from(r->accept ? r->accept : "application/json")};
    if (project && *project)
        out[n++] = (HttpHeader){"X-Ambient-Project", str_from(project)};
    if (r->body.ptr)
        out[n++] =
            (HttpHeader){"Content-Type", str_from(r->content_type ? r->content_type : "application/json")};
    if (r->idempotency_key)
        out[n++] = (HttpHeader){"Idempotency-Key", str_from(r->idempotency_key)};
    if (r->if_match)
        out[n++] = (HttpHeader){"If-Match", str_from(r->if_match)};
    return n;
}

static ClientCall *call_new(Client *c, const ClientRequest *r, ClientDone done, void *arg)
{
    ClientCall *call = xnew(ClientCall);

    call->client = c;
    call->done = done;
    call->on_event = r->on_event;
    call->on_open = r->on_open;
    call->on_bytes = r->on_bytes;
    call->may_send = r->may_send;
    call->arg = arg;
    if (r->on_event)
        call->sse = sse_decoder_new(EVENT_MAX, on_sse, call);
    list_push_back(&c->calls, &call->link);
    return call;
}

static bool may_send(void *arg)
{
    const ClientCall *call = arg;

    return call->ended || call->may_send(call->arg);
}

ClientCall *client_request(Client *c, const ClientRequest *r, ClientDone done, void *arg)
{
    assert(c->base); /* a client without API address has no REST */
    CLEANUP_FREE char *url = xasprintf("%s%s", c->base, r->path);
    ClientCall *call = call_new(c, r, done, arg);
    HttpHeader headers[HEADERS_MAX];
    bool streamed = r->on_event || r->on_bytes;
    HttpRequest req = {
        .method = r->method,
        .url = url,
        .headers = headers,
        .n_headers = make_headers(c, r, headers),
        .bearer = client_bearer(c),
        .body = r->body,
        .timeout = r->timeout ? r->timeout
                   : streamed ? USEC_NEVER
                              : c->timeout,
        .on_piece = streamed ? on_piece : NULL,
        .on_headers = streamed ? on_headers : NULL,
        .may_send = r->may_send ? may_send : NULL,
    };
    call->http = http_send(c->http, &req, on_done, call);
    return call;
}

/* ---- the REST part of a client ---- */

static void rest_done(Client *c)
{
    client_stop_all(&c->lists, client_list_stop); /* before the calls: each list has one */
    client_stop_all(&c->calls, client_call_stop);
    http_client_free(c->http);
}

static int rest_init(Client *c, const ClientOptions *o, Err *err)
{
    HttpClientOptions http = {
        .ca_file = o->ca_file,
        .insecure_skip_verify = o->insecure_skip_verify,
        .user_agent = o->user_agent,
    };
    Str url = str_from(o->api_url);
    Url parsed;

    if (url_parse(url, &parsed, err) < 0)
        return err_wrap(err, "API address");
    while (str_ends(url, STR("/")))
        url.len--;
    c->base = xasprintf(STR_FMT API_PATH, STR_ARG(url));
    c->rest_done = rest_done;
    return http_client_new(c->loop, &http, &c->http, err);
}

int client_new(Loop *l, const ClientOptions *o, Client **ret, Err *err)
{
    CLEANUP(client_freep) Client *c = NULL;
    int r = client_new_grpc(l, o, &c, err);

    if (r == 0 && o->api_url)
        r = rest_init(c, o, err);
    if (r < 0)
        return r;
    *ret = TAKE(c);
    return 0;
}
