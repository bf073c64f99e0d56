#include "login.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "client/client.h"
#include "crypto/crypto.h"
#include "http/server.h"
#include "jwt.h"

#define WAIT_MAX (300 * USEC_PER_SEC)
#define GOODBYE_MAX (2 * USEC_PER_SEC) /* for the page to reach the browser */

typedef struct Browser {
    const LoginFlow *flow;
    HttpServer *server;
    Timer *timer;
    char state[OIDC_RANDOM], nonce[OIDC_RANDOM], verifier[OIDC_RANDOM];
    char redirect[64];
    Secret *code;
    Err err;
    bool answered, over;
} Browser;

/* ---- the page that the browser ends on ---- */

static void add_html(Buf *b, Str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '<' || c == '>' || c == '&' || c == '"' || c == '\'')
            buf_addf(b, "&#%d;", c);
        else
            buf_addc(b, c);
    }
}

static void page(HttpReq *req, int status, const char *title, const char *text)
{
    CLEANUP_BUF Buf b = BUF_INIT((size_t)64 * 1024);
    buf_addf(&b, "<!DOCTYPE html><meta charset=utf-8><title>acpctl</title><h1>%s</h1><p>", title);
    add_html(&b, str_from(text));
    buf_addz(&b, "</p>\n");
    http_reply_header(req, "Content-Type", STR("text/html; charset=utf-8"));
    http_reply_header(req, "Cache-Control", STR("no-store"));
    http_reply_header(req, "Content-Security-Policy", STR("default-src 'none'"));
    http_reply_buf(req, status, &b);
}

/* ---- the redirect ---- */

static bool same(Str got, const char *wanted)
{
    return got.len == strlen(wanted) && mem_equal_consttime(got.ptr, wanted, got.len);
}

/* RFC 9207: an answer of another provider must not be taken to this one. */
static bool issuer_fits(const Browser *b, Str iss)
{
    if (!iss.ptr)
        return !oidc_says(b->flow->oidc, "authorization_response_iss_parameter_supported");
    if (str_ends(iss, STR("/")))
        iss.len--;
    return str_eqz(iss, oidc_issuer(b->flow->oidc));
}

static int read_answer(Browser *b, HttpReq *req, Err *err)
{
    Str code = http_req_query(req, "code"), error = http_req_query(req, "error");
    Str why = http_req_query(req, "error_description");
    if (!same(http_req_query(req, "state"), b->state))
        return err_set(err, ERR_MALFORMED, "the callback's state is not the one of this login");
    if (!issuer_fits(b, http_req_query(req, "iss")))
        return err_set(err, ERR_MALFORMED, "the callback comes from another issuer");
    if (error.len) {
        Str text = why.len ? why : error;
        return err_set(err, ERR_UNAUTHENTICATED, STR_FMT, STR_ARG(text));
    }
    if (!code.len)
        return err_set(err, ERR_MALFORMED, "the callback has no code");
    b->code = secret_new(code);
    return 0;
}

static void on_drained(void *arg)
{
    Browser *b = arg;
    b->over = true;
}

static void on_request(void *arg, HttpReq *req)
{
    Browser *b = arg;
    if (b->answered || !str_eqz(http_req_method(req), "GET") || !str_eqz(http_req_path(req), "/callback")) {
        page(req, 404, "Not found", "There is nothing here.");
        return;
    }
    b->answered = true;
    int rc = read_answer(b, req, &b->err);
    if (rc == 0)
        page(req, 200, "Login successful", "You may close this window and go back to the terminal.");
    else
        page(req, rc == -ERR_MALFORMED ? 400 : 200, "Login failed", b->err.msg);
    timer_arm(b->timer, GOODBYE_MAX);
    http_server_drain(b->server, on_drained, b);
}

static void on_timer(void *arg)
{
    Browser *b = arg;
    if (!b->answered)
        err_set(&b->err, ERR_DEADLINE, "timed out waiting for authorization callback (300s)");
    b->over = true;
}

/* ---- the way there ---- */

/* Members in alphabetical order, as the reference sends them. */
static void add_query(const Browser *b, Buf *url)
{
    uint8_t digest[SHA256_LEN];
    CLEANUP_BUF Buf challenge = BUF_INIT(64);
    CLEANUP_BUF Buf query = BUF_INIT(8192);
    const char *scopes = b->flow->scopes;
    sha256(str_from(b->verifier), digest);
    base64url_write(&challenge, digest, sizeof(digest));
    form_add(&query, "client_id", str_from(b->flow->client_id));
    form_add(&query, "code_challenge", buf_str(&challenge));
    form_add(&query, "code_challenge_method", STR("S256"));
    if (*scopes)
        form_add(&query, "nonce", str_from(b->nonce));
    if (strstr(scopes, "offline_access")) /* without it the scope is left out: OpenID Connect Core 11 */
        form_add(&query, "prompt", STR("consent"));
    form_add(&query, "redirect_uri", str_from(b->redirect));
    form_add(&query, "response_type", STR("code"));
    if (*scopes)
        form_add(&query, "scope", str_from(scopes));
    form_add(&query, "state", str_from(b->state));
    buf_addf(url, "%c" STR_FMT, strchr(url->data, '?') ? '&' : '?', STR_ARG(buf_str(&query)));
}

/* $BROWSER, else the desktop's when there is a display; what cannot be started was at least printed. */
static void open_browser(const Browser *b, const char *url)
{
    CLEANUP_FREE char *own = NULL;
    const char *env = getenv("BROWSER");
    Str list = str_from(env);
    if (list.len)
        own = str_dup(str_cut(&list, ':'));
    else if (!getenv("DISPLAY") && !getenv("WAYLAND_DISPLAY"))
        return;
    const char *const argv[] = {own ? own : "xdg-open", url, NULL};
    ChildSpec spec = {.argv = argv, .fd_in = -1, .fd_out = -1, .fd_err = -1};
    Child *child = NULL;
    if (child_spawn(b->flow->loop, &spec, NULL, NULL, &child, NULL) == 0)
        child_free(child);
}

static int send_to_browser(const Browser *b, Err *err)
{
    const char *endpoint = oidc_endpoint(b->flow->oidc, "authorization_endpoint");
    CLEANUP_BUF Buf url = BUF_INIT(16384);
    if (!endpoint)
        return err_set(err, ERR_UNIMPLEMENTED, "the issuer has no authorization endpoint");
    buf_addz(&url, endpoint);
    add_query(b, &url);
    int rc = buf_check(&url, err);
    if (rc < 0)
        return rc;
    printf("Open this address in a browser to log in:\n\n  %s\n\n", url.data);
    fflush(stdout);
    if (b->flow->open_browser)
        open_browser(b, url.data);
    return 0;
}

static int exchange(Browser *b, OidcTokens *ret, Err *err)
{
    CLEANUP_BUF Buf form = BUF_INIT((size_t)256 * 1024);
    CLEANUP_JSON json_t *body = NULL;
    form_add(&form, "grant_type", STR("authorization_code"));
    form_add(&form, "code", secret_reveal(b->code));
    form_add(&form, "redirect_uri", str_from(b->redirect));
    form_add(&form, "code_verifier", str_from(b->verifier));
    int rc = oidc_ask(b->flow->oidc, oidc_endpoint(b->flow->oidc, "token_endpoint"), &form, &body, err);
    if (rc == 0)
        rc = oidc_tokens_read(body, ret, err);
    if (rc < 0 || !ret->id)
        return rc;
    IdTokenRules rules = {oidc_issuer(b->flow->oidc), b->flow->client_id, *b->flow->scopes ? b->nonce : NULL,
                          clock_wall(&clock_system)};
    rc = id_token_check(secret_reveal(ret->id), &rules, err);
    if (rc < 0)
        oidc_tokens_done(ret);
    return rc;
}

static int listen_here(Browser *b, Err *err)
{
    HttpLimits limits = http_limits_default;
    limits.idle_timeout = limits.header_timeout = 10 * USEC_PER_SEC;
    int rc =
        http_server_new(b->flow->loop, "127.0.0.1:0", NULL, &limits, on_request, NULL, b, &b->server, err);
    if (rc == 0)
        snprintf(b->redirect, sizeof(b->redirect), "http://127.0.0.1:%d/callback",
                 http_server_port(b->server));
    return rc;
}

int login_browser(const LoginFlow *f, OidcTokens *ret, Err *err)
{
    Browser b = {.flow = f};
    oidc_random(b.state, 16);
    oidc_random(b.nonce, 16);
    oidc_random(b.verifier, 32);
    b.timer = timer_new(f->loop, on_timer, &b);
    int rc = listen_here(&b, err);
    if (rc == 0)
        rc = send_to_browser(&b, err);
    if (rc == 0) {
        timer_arm(b.timer, WAIT_MAX);
        client_wait(f->loop, &b.over);
        if (b.err.code)
            rc = err_set(err, b.err.code, "%s", b.err.msg);
    }
    if (rc == 0)
        rc = exchange(&b, ret, err);
    http_server_free(b.server);
    timer_free(b.timer);
    secret_free(b.code);
    secret_erase(b.verifier, sizeof(b.verifier));
    return rc;
}
