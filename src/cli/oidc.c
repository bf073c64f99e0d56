#include "oidc.h"

#include <string.h>
#include "base/mem.h"
#include "client/client.h"
#include "crypto/crypto.h"
#include "http/client.h"
#include "http/url.h"

#define DISCOVERY_TIMEOUT (10 * USEC_PER_SEC)
#define POST_TIMEOUT (30 * USEC_PER_SEC)
#define ANSWER_MAX ((size_t)1 << 20)

struct Oidc {
    Loop *loop;
    HttpClient *http;
    HttpCall *call;
    char *issuer, *client_id;
    const Secret *client_secret;
    json_t *doc; /* NULL = Keycloak's paths */
    char *paths[5];
    char error[64];
    OidcDone found;
    OidcReply replied;
    void *arg;
};

static const struct {
    const char *member, *path;
} keycloak[] = {
    {"authorization_endpoint", "auth"},
    {"token_endpoint", "token"},
    {"device_authorization_endpoint", "auth/device"},
    {"revocation_endpoint", "revoke"},
    {"end_session_endpoint", "logout"},
};

/* Codes, secrets and tokens go there: encrypted, or not over a network at all. */
static int check_address(const char *what, const char *url, Err *err)
{
    Url u;
    if (!url || url_parse(str_from(url), &u, NULL) < 0 || !u.host.len)
        return err_set(err, ERR_USAGE, "%s \"%s\" is no URL", what, url ? url : "");
    bool here = str_eqz(u.host, "localhost") || str_starts(u.host, STR("127.")) || str_eqz(u.host, "::1");
    if (!str_eqz(u.scheme, "https") && !here)
        return err_set(err, ERR_USAGE, "%s %s: only https is accepted outside this machine", what, url);
    return 0;
}

int oidc_new(Loop *l, const OidcOptions *o, Oidc **ret, Err *err)
{
    int rc = check_address("issuer", o->issuer, err);
    if (rc < 0)
        return rc;
    CLEANUP(oidc_freep) Oidc *oidc = xnew(Oidc);
    HttpClientOptions http = {.user_agent = "acpctl/" AMBIENT_VERSION, .ca_file = o->ca_file};
    rc = http_client_new(l, &http, &oidc->http, err);
    if (rc < 0)
        return rc;
    Str issuer = str_from(o->issuer);
    oidc->issuer = str_dup(str_ends(issuer, STR("/")) ? str_slice(issuer, 0, issuer.len - 1) : issuer);
    oidc->loop = l;
    oidc->client_id = xstrdup(o->client_id);
    oidc->client_secret = o->client_secret;
    *ret = TAKE(oidc);
    return 0;
}

Oidc *oidc_free(Oidc *o)
{
    if (!o)
        return NULL;
    http_cancel(o->call);
    http_client_free(o->http);
    json_decref(o->doc);
    for (size_t i = 0; i < ARRAY_LEN(o->paths); i++)
        free(o->paths[i]);
    free(o->issuer);
    free(o->client_id);
    free(o);
    return NULL;
}

/* ---- discovery ---- */

static void use_keycloak(Oidc *o)
{
    for (size_t i = 0; i < ARRAY_LEN(keycloak); i++) {
        free(o->paths[i]);
        o->paths[i] = xasprintf("%s/protocol/openid-connect/%s", o->issuer, keycloak[i].path);
    }
}

/* A document that names another issuer, or sends secrets over an open line, is not used. */
static int check_document(const Oidc *o, const json_t *doc, Err *err)
{
    Str issuer = json_get_strv(doc, "issuer");
    if (str_ends(issuer, STR("/")))
        issuer.len--;
    if (!str_eqz(issuer, o->issuer))
        return err_set(err, ERR_BAD_GATEWAY, "the discovery document of %s is for issuer \"" STR_FMT "\"",
                       o->issuer, STR_ARG(issuer));
    int rc = check_address("token_endpoint", json_get_str(doc, "token_endpoint"), err);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(keycloak); i++) {
        const char *url = json_get_str(doc, keycloak[i].member);
        rc = url ? check_address(keycloak[i].member, url, err) : 0;
    }
    return rc;
}

static int read_discovery(Oidc *o, const HttpResponse *r, const Err *failed, Err *err)
{
    CLEANUP_JSON json_t *doc = NULL;
    if (failed)
        return err_set(err, failed->code, "issuer %s: %s", o->issuer, failed->msg);
    if (r->status == 404) {
        use_keycloak(o);
        return 0;
    }
    if (r->status != 200)
        return err_set(err, err_from_http(r->status), "issuer %s: discovery returned HTTP %d", o->issuer,
                       r->status);
    Err e = {0};
    if (json_parse(r->body, &doc, &e) < 0)
        return err_set(err, ERR_BAD_GATEWAY, "issuer %s: discovery: %s", o->issuer, e.msg);
    int rc = check_document(o, doc, err);
    if (rc == 0)
        o->doc = TAKE(doc);
    return rc;
}

static void on_discovery(void *arg, const HttpResponse *r, const Err *failed)
{
    Oidc *o = arg;
    Err err = {0};
    o->call = NULL;
    int rc = read_discovery(o, r, failed, &err);
    o->found(o->arg, rc < 0 ? &err : NULL); /* may free o */
}

void oidc_discover(Oidc *o, OidcDone done, void *arg)
{
    CLEANUP_FREE char *url = xasprintf("%s/.well-known/openid-configuration", o->issuer);
    HttpHeader accept = {"Accept", STR("application/json")};
    HttpRequest req = {.method = "GET",
                       .url = url,
                       .headers = &accept,
                       .n_headers = 1,
                       .timeout = DISCOVERY_TIMEOUT,
                       .body_max = ANSWER_MAX};
    o->found = done;
    o->arg = arg;
    o->call = http_send(o->http, &req, on_discovery, o);
}

const char *oidc_issuer(const Oidc *o)
{
    return o->issuer;
}

const char *oidc_endpoint(const Oidc *o, const char *member)
{
    for (size_t i = 0; !o->doc && i < ARRAY_LEN(keycloak); i++) {
        if (strcmp(keycloak[i].member, member) == 0)
            return o->paths[i];
    }
    return json_get_str(o->doc, member);
}

bool oidc_lists(const Oidc *o, const char *member, const char *value)
{
    const json_t *list = json_get_arr(o->doc, member);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *v = json_string_value(json_array_get(list, i));
        if (v && strcmp(v, value) == 0)
            return true;
    }
    return false;
}

bool oidc_says(const Oidc *o, const char *member)
{
    return json_get_bool(o->doc, member, false);
}

char *oidc_scopes(const Oidc *o, const char *wanted)
{
    if (wanted)
        return xstrdup(wanted);
    if (!o->doc)
        return xstrdup("");
    return xstrdup(oidc_lists(o, "scopes_supported", "offline_access") ? "openid offline_access" : "openid");
}

/* ---- posts ---- */

void form_add(Buf *form, const char *name, Str value)
{
    buf_addf(form, "%s%s=", form->len ? "&" : "", name);
    url_escape_query(form, value);
}

/* The secret goes into the form, as the reference sends it, unless the provider only takes it in the header.
 */
static bool secret_in_header(const Oidc *o)
{
    static const char member[] = "token_endpoint_auth_methods_supported";
    return o->client_secret && o->doc && !oidc_lists(o, member, "client_secret_post");
}

static void add_basic(const Oidc *o, Buf *out)
{
    CLEANUP_BUF Buf pair = BUF_INIT((size_t)1 << 18);
    url_escape_query(&pair, str_from(o->client_id));
    buf_addc(&pair, ':');
    url_escape_query(&pair, secret_reveal(o->client_secret));
    buf_addz(out, "Basic ");
    base64_write(out, pair.data, pair.len);
    secret_erase(pair.data, pair.len);
}

static int refused(Oidc *o, int status, const json_t *body, Err *err)
{
    const char *code = json_get_str(body, "error"), *why = json_get_str(body, "error_description");
    ErrCode c = status >= 500 || status == 429 ? err_from_http(status) : ERR_UNAUTHENTICATED;
    snprintf(o->error, sizeof(o->error), "%s", code ? code : "");
    if (code || why)
        return err_set(err, c, "token endpoint: %s", why && *why ? why : code ? code : "");
    return err_set(err, c, "token endpoint returned HTTP %d", status);
}

static void on_reply(void *arg, const HttpResponse *r, const Err *failed)
{
    Oidc *o = arg;
    Err err = {0};
    CLEANUP_JSON json_t *body = NULL;
    int rc = failed ? err_set(&err, failed->code, "token endpoint: %s", failed->msg) : 0;
    o->call = NULL;
    o->error[0] = '\0';
    if (rc == 0)
        (void)json_parse(r->body, &body, NULL);
    if (rc == 0 && r->status / 100 != 2)
        rc = refused(o, r->status, body, &err);
    o->replied(o->arg, body, rc < 0 ? &err : NULL); /* may free o */
}

void oidc_post(Oidc *o, const char *endpoint, Buf *form, OidcReply done, void *arg)
{
    CLEANUP_BUF Buf basic = BUF_INIT((size_t)1 << 20);
    HttpHeader headers[3] = {{"Content-Type", STR("application/x-www-form-urlencoded")},
                             {"Accept", STR("application/json")}};
    size_t n = 2;
    form_add(form, "client_id", str_from(o->client_id));
    if (secret_in_header(o)) {
        add_basic(o, &basic);
        headers[n++] = (HttpHeader){"Authorization", buf_str(&basic)};
    } else if (o->client_secret) {
        form_add(form, "client_secret", secret_reveal(o->client_secret));
    }
    HttpRequest req = {.method = "POST",
                       .url = endpoint,
                       .headers = headers,
                       .n_headers = n,
                       .body = buf_str(form),
                       .timeout = POST_TIMEOUT,
                       .body_max = ANSWER_MAX};
    o->replied = done;
    o->arg = arg;
    o->call = http_send(o->http, &req, on_reply, o);
    secret_erase(form->data, form->len);
    buf_clear(form);
    if (basic.data)
        secret_erase(basic.data, basic.len);
}

const char *oidc_error(const Oidc *o)
{
    return o->error;
}

/* ---- waiting forms ---- */

typedef struct Waiting {
    bool done;
    json_t *body;
    Err err;
} Waiting;

static void on_found(void *arg, const Err *err)
{
    Waiting *w = arg;
    w->done = true;
    if (err)
        w->err = *err;
}

static void on_answer(void *arg, json_t *body, const Err *err)
{
    Waiting *w = arg;
    w->body = json_incref(body);
    on_found(w, err);
}

int oidc_find(Oidc *o, Err *err)
{
    Waiting w = {0};
    oidc_discover(o, on_found, &w);
    client_wait(o->loop, &w.done);
    return w.err.code ? err_set(err, w.err.code, "%s", w.err.msg) : 0;
}

int oidc_ask(Oidc *o, const char *endpoint, Buf *form, json_t **ret, Err *err)
{
    Waiting w = {0};
    oidc_post(o, endpoint, form, on_answer, &w);
    client_wait(o->loop, &w.done);
    if (!w.err.code) {
        *ret = w.body;
        return 0;
    }
    json_decref(w.body);
    return err_set(err, w.err.code, "%s", w.err.msg);
}

/* ---- tokens ---- */

static Secret *secret_of(const json_t *body, const char *member)
{
    Str v = json_get_strv(body, member);
    return v.len ? secret_new(v) : NULL;
}

/* A token goes into a header as it is. */
static bool is_token(Str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] <= ' ' || s.ptr[i] > '~')
            return false;
    }
    return s.len > 0;
}

int oidc_tokens_read(const json_t *body, OidcTokens *ret, Err *err)
{
    if (!is_token(json_get_strv(body, "access_token")))
        return err_set(err, ERR_BAD_GATEWAY, "no access_token in token response");
    int64_t seconds = json_get_int(body, "expires_in", 0);
    *ret = (OidcTokens){
        .access = secret_of(body, "access_token"),
        .refresh = secret_of(body, "refresh_token"),
        .id = secret_of(body, "id_token"),
        .expires_in = seconds > 0 && seconds < INT32_MAX ? seconds : 0,
    };
    return 0;
}

void oidc_tokens_done(OidcTokens *t)
{
    secret_free(t->access);
    secret_free(t->refresh);
    secret_free(t->id);
    *t = (OidcTokens){0};
}

void oidc_random(char out[static OIDC_RANDOM], size_t n)
{
    uint8_t bytes[32];
    CLEANUP_BUF Buf text = BUF_INIT(OIDC_RANDOM);
    random_bytes(bytes, n <= sizeof(bytes) ? n : sizeof(bytes));
    base64url_write(&text, bytes, n <= sizeof(bytes) ? n : sizeof(bytes));
    snprintf(out, OIDC_RANDOM, "%s", text.data);
    secret_erase(text.data, text.len);
    secret_erase(bytes, sizeof(bytes));
}
