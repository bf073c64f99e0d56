#include "credentials.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"
#include "http/brief.h"
#include "http/url.h"
#include "json/json.h"
#include "providers.h"

#define ANSWER_MAX ((size_t)1 << 20)
#define CREDENTIALS_MAX 64
/* Words of a document that are that long are masked by themselves: an agent shows a line of it, not all. */
#define MASKED_WORD 32

/* Where a token is asked for: in the project first, as there the binding is checked. */
typedef enum Place { PLACE_PROJECT, PLACE_GLOBAL, _PLACE_MAX } Place;

typedef struct Entry {
    Held held;
    char *id;
    bool told; /* of trouble */
} Entry;

struct RunnerCredentials {
    Loop *loop;
    RunnerCredentialsOptions o;
    TlsContext *tls;
    char *directory; /* private */
    Entry *entries;
    size_t n;
    /* the round that is under way */
    bool running;
    BriefGet *call;
    size_t at;
    Place place;
    bool asked_again;
    Usec fetched_at;
    bool fetched, for_turn;
    Timer *soon;
};

/* ---- making ---- */

static bool is_id(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return n > 0 && n <= 64 && !s[n];
}

/* The session's token goes there: over TLS, or where nobody else listens. */
static int check_backend(const char *text, Err *err)
{
    Url u;
    int rc = url_parse(str_from(text), &u, err);
    if (rc < 0)
        return err_wrap(err, "BACKEND_API_URL");
    if (u.has_userinfo || (!url_is_near(&u) && !str_eqz(u.scheme, "https")))
        return err_set(err, ERR_INVALID, "BACKEND_API_URL must be https, or a local or cluster address");
    return 0;
}

static int make_tls(RunnerCredentials *c, Err *err)
{
    const RunnerConfig *conf = c->o.config;
    const TlsOptions o = {.ca_file = conf->grpc_ca_file, .alpn = "http/1.1"};
    return str_starts(str_from(conf->backend_url), STR("https:")) ? tls_client_new(&o, &c->tls, err) : 0;
}

/* In the session's own place for temporary files what a killed runner left is removed. */
static int make_directory(RunnerCredentials *c, Err *err)
{
    const char *own = c->o.config->tmp, *tmp = getenv("TMPDIR");
    if (own && *own) {
        c->directory = path_join(own, "credentials");
        (void)dir_remove_tree(c->directory, NULL);
        return dir_make(c->directory, 0700, err);
    }
    c->directory = path_join(tmp && *tmp == '/' ? tmp : "/tmp", "ambient-credentials-XXXXXX");
    return mkdtemp(c->directory) ? 0 : err_set_errno(err, errno, "directory of credentials");
}

static int add_entries(RunnerCredentials *c, const json_t *ids, Err *err)
{
    const char *provider;
    json_t *id;
    if (!json_is_object(ids) || json_object_size(ids) > CREDENTIALS_MAX)
        return err_set(err, ERR_INVALID, "CREDENTIAL_IDS is no JSON object of provider and id");
    c->entries = xcalloc(json_object_size(ids) + 1, sizeof(*c->entries));
    json_object_foreach((json_t *)(uintptr_t)ids, provider, id)
    {
        if (!json_is_string(id) || !is_id(json_string_value(id)) || !is_id(provider))
            return err_set(err, ERR_INVALID, "CREDENTIAL_IDS: an id or a provider is malformed");
        Entry *e = &c->entries[c->n++];
        e->held.provider = xstrdup(provider);
        e->id = xstrdup(json_string_value(id));
    }
    return 0;
}

static void next_entry(void *arg);

int runner_credentials_new(Loop *l, const RunnerCredentialsOptions *o, RunnerCredentials **ret, Err *err)
{
    CLEANUP_JSON json_t *ids = NULL;
    Str text = str_trim(str_from(o->config->credential_ids));
    *ret = NULL;
    if (!text.len)
        return 0;
    int rc = json_parse(text, &ids, err);
    if (rc < 0)
        return err_wrap(err, "CREDENTIAL_IDS");
    if (json_object_size(ids) == 0)
        return 0;
    RunnerCredentials *c = xnew(RunnerCredentials);
    c->loop = l;
    c->o = *o;
    c->soon = timer_new(l, next_entry, c);
    rc = add_entries(c, ids, err);
    if (rc == 0)
        rc = check_backend(o->config->backend_url, err);
    if (rc == 0)
        rc = make_tls(c, err);
    if (rc == 0)
        rc = make_directory(c, err);
    if (rc < 0)
        runner_credentials_free(c);
    else
        *ret = c;
    return rc;
}

static void held_done(Held *h)
{
    free(h->provider);
    secret_free(h->token);
    free(h->url);
    free(h->email);
    free(h->path);
}

RunnerCredentials *runner_credentials_free(RunnerCredentials *c)
{
    if (!c)
        return NULL;
    brief_cancel(c->call);
    timer_free(c->soon);
    tls_free(c->tls);
    for (size_t i = 0; i < c->n; i++) {
        held_done(&c->entries[i].held);
        free(c->entries[i].id);
    }
    free(c->entries);
    if (c->directory)
        (void)dir_remove_tree(c->directory, NULL);
    free(c->directory);
    free(c);
    return NULL;
}

/* ---- one answer ---- */

static void mask_words(RedactSet *set, const char *name, Str text)
{
    for (size_t at = 0; at < text.len;) {
        size_t n = 0;
        while (at + n < text.len && !strchr(" \t\r\n\"',", text.ptr[at + n]))
            n++;
        if (n >= MASKED_WORD)
            redact_set_add(set, name, str_slice(text, at, at + n));
        at += n + 1;
    }
}

static void mask(const RunnerCredentials *c, const Held *h)
{
    const Provider *p = provider_find(str_from(h->provider));
    CLEANUP_FREE char *name = xasprintf("%s_TOKEN", h->provider);
    CLEANUP_BUF Buf file = BUF_INIT(ANSWER_MAX);
    for (char *at = name; *at; at++)
        *at = (char)(*at >= 'a' && *at <= 'z' ? *at - 32 : *at == '-' || *at == '.' ? '_' : *at);
    const char *variable = p && p->variable ? p->variable : name;
    redact_set_add(c->o.redact, variable, secret_reveal(h->token));
    mask_words(c->o.redact, variable, secret_reveal(h->token));
    if (!h->path || file_read(h->path, &file, NULL) < 0)
        return;
    mask_words(c->o.redact, variable, buf_str(&file));
    secret_erase(file.data, file.len);
}

static void set_text(char **at, const json_t *body, const char *key)
{
    const char *value = json_get_str(body, key);
    if (!value || !*value)
        return;
    free(*at);
    *at = xstrdup(value);
}

/* The API server says "token"; services before it had other names for it. */
static Str token_in(const json_t *body)
{
    static const char *const names[] = {"apiToken", "accessToken", "token", "apiKey"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (json_get_strv(body, names[i]).len)
            return json_get_strv(body, names[i]);
    return STR_NULL;
}

static int take_answer(RunnerCredentials *c, Entry *e, Str text, Err *err)
{
    CLEANUP_JSON json_t *body = NULL;
    Held *h = &e->held;
    if (json_parse(text, &body, NULL) < 0 || !token_in(body).len) /* the parser's words may show it */
        return err_set(err, ERR_BAD_GATEWAY, "the answer holds no token");
    set_text(&h->url, body, "url");
    set_text(&h->email, body, "email");
    if (secret_equals(h->token, token_in(body)))
        return 0;
    if (h->token)
        log_info("a credential was rotated", F_STR("provider", h->provider));
    secret_free(h->token);
    h->token = secret_new(token_in(body));
    int rc = provider_write(c->directory, h, err);
    mask(c, h); /* whatever became of the file */
    return rc;
}

/* ---- a round ---- */

static void tell_trouble(RunnerCredentials *c, Entry *e, const Err *err)
{
    log_warn("a credential cannot be read", F_STR("provider", e->held.provider), F_STR("credential", e->id),
             F_ERR(err));
    if (e->told || e->held.token)
        return;
    e->told = true;
    CLEANUP_FREE char *text = xasprintf(
        "The credential for %s cannot be read (%s); the agent works without it.", e->held.provider, err->msg);
    c->o.on_trouble(c->o.arg, text);
}

static void go_on(RunnerCredentials *c)
{
    c->at++;
    c->place = PLACE_PROJECT;
    c->asked_again = false;
    timer_arm(c->soon, 0);
}

static void ask(RunnerCredentials *c);

/* 401: the token file may have been renewed a moment ago. Refused in the project: some servers know the
   credential's own grants only at its own path. */
static bool try_again(RunnerCredentials *c, int status)
{
    if (status == 401 && !c->asked_again) {
        c->asked_again = true;
        return true;
    }
    if ((status == 401 || status == 403 || status == 404) && c->place == PLACE_PROJECT) {
        c->place = PLACE_GLOBAL;
        return true;
    }
    return false;
}

static void on_answer(void *arg, int status, Str body, const Err *err)
{
    RunnerCredentials *c = arg;
    Entry *e = &c->entries[c->at];
    Err why = {0};
    c->call = NULL;
    if (!err && try_again(c, status)) {
        ask(c);
        return;
    }
    if (err)
        why = *err;
    else if (status != 200)
        (void)err_set(&why, err_from_http(status), "the API server answers %d", status);
    else
        (void)take_answer(c, e, body, &why);
    if (why.code)
        tell_trouble(c, e, &why);
    go_on(c);
}

static char *url_of(const RunnerCredentials *c, const Entry *e)
{
    const RunnerConfig *conf = c->o.config;
    CLEANUP_BUF Buf url = BUF_INIT(8192);
    Str base = str_from(conf->backend_url);
    while (base.len && base.ptr[base.len - 1] == '/')
        base.len--;
    (void)buf_adds(&url, base);
    (void)buf_addz(&url, "/api/ambient/v1");
    if (c->place == PLACE_PROJECT) {
        (void)buf_addz(&url, "/projects/");
        url_escape_segment(&url, str_from(conf->project));
    }
    (void)buf_addf(&url, "/credentials/%s/token", e->id);
    return buf_take(&url);
}

static void ask(RunnerCredentials *c)
{
    Entry *e = &c->entries[c->at];
    Err err = {0};
    if (!c->o.config->project || !*c->o.config->project)
        c->place = PLACE_GLOBAL;
    CLEANUP_FREE char *url = url_of(c, e);
    const BriefRequest r = {
        .url = url, .bearer = token_source_get(c->o.token), .tls = c->tls, .max = ANSWER_MAX};
    if (brief_get(c->loop, &r, on_answer, c, &c->call, &err) < 0) {
        tell_trouble(c, e, &err);
        go_on(c);
    }
}

static void next_entry(void *arg)
{
    RunnerCredentials *c = arg;
    if (c->at < c->n) {
        ask(c);
        return;
    }
    c->running = false;
    c->fetched = c->for_turn = true;
    c->fetched_at = loop_now(c->loop);
    c->o.on_ready(c->o.arg);
}

/* What was fetched for the turn that is about to begin counts in any case. */
static bool is_fresh(RunnerCredentials *c)
{
    Usec age = usec_sub(loop_now(c->loop), c->fetched_at);
    bool fresh = c->fetched && (c->for_turn || age < c->o.config->credential_refresh);
    c->for_turn = false;
    return fresh;
}

void runner_credentials_refresh(RunnerCredentials *c)
{
    if (c->running)
        return;
    c->running = true;
    c->at = 0;
    c->place = PLACE_PROJECT;
    c->asked_again = false;
    timer_arm(c->soon, 0);
}

bool runner_credentials_ready(RunnerCredentials *c)
{
    if (!c || (!c->running && is_fresh(c)))
        return true;
    runner_credentials_refresh(c);
    return false;
}

size_t runner_credentials_count(const RunnerCredentials *c)
{
    return c->n;
}

const Held *runner_credentials_held(const RunnerCredentials *c)
{
    return &c->entries[0].held;
}

static void add_env(const RunnerCredentials *c, bool all, ChildEnv *env)
{
    Held *held = xcalloc(c->n + 1, sizeof(*held));
    for (size_t i = 0; i < c->n; i++) {
        held[i] = c->entries[i].held; /* borrowed */
        if (all)
            provider_env(&held[i], env);
    }
    providers_git_env(held, c->n, env);
    free(held);
}

Str runner_credentials_git_email(const RunnerCredentials *c)
{
    for (size_t i = 0; c && i < c->n; i++) {
        const Held *h = &c->entries[i].held;
        CLEANUP_FREE char *host = h->token ? provider_git_host(h) : NULL;
        if (host && h->email && *h->email)
            return str_from(h->email);
    }
    return STR_NULL;
}

void runner_credentials_env(const RunnerCredentials *c, ChildEnv *env)
{
    if (c)
        add_env(c, true, env);
}

void runner_credentials_git_env(const RunnerCredentials *c, ChildEnv *env)
{
    if (c)
        add_env(c, false, env);
}
