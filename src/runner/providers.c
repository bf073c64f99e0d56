#include "providers.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "http/url.h"

#define TOKEN_MAX ((size_t)256 << 10)

static const Provider providers[] = {
    {.name = "github",
     .variable = "GITHUB_TOKEN",
     .file = "github-token",
     .git_host = "github.com",
     .git_user = "x-access-token"},
    {.name = "gitlab",
     .variable = "GITLAB_TOKEN",
     .file = "gitlab-token",
     .git_host = "gitlab.com",
     .git_user = "oauth2"},
    {.name = "jira",
     .variable = "JIRA_API_TOKEN",
     .url_variable = "JIRA_URL",
     .email_variable = "JIRA_EMAIL"},
    {.name = "google",
     .file = "google.json",
     .path_variable = "GOOGLE_APPLICATION_CREDENTIALS",
     .email_variable = "USER_GOOGLE_EMAIL",
     .base64 = true},
    {.name = "vertex",
     .file = "vertex.json",
     .path_variable = "GOOGLE_APPLICATION_CREDENTIALS",
     .base64 = true},
    {.name = "kubeconfig", .file = "kubeconfig", .path_variable = "KUBECONFIG", .base64 = true},
    {.name = "gerrit", .file = "gerrit_config.json", .path_variable = "GERRIT_CONFIG_PATH"},
    {.name = "coderabbit", .variable = "CODERABBIT_API_KEY"},
};

const Provider *provider_find(Str name)
{
    for (size_t i = 0; i < ARRAY_LEN(providers); i++)
        if (str_eqz(name, providers[i].name))
            return &providers[i];
    return NULL;
}

/* ---- files ---- */

static void buf_erase(Buf *b)
{
    if (b->data)
        secret_erase(b->data, b->len);
    buf_done(b);
}

/* A kubeconfig and a service account are documents: what begins like one is taken as it is. */
static bool is_document(Str s)
{
    s = str_trim(s);
    return s.len && (s.ptr[0] == '{' || str_find_byte(s, '\n') >= 0 || str_find_byte(s, ':') >= 0);
}

int provider_write(const char *directory, Held *h, Err *err)
{
    const Provider *p = provider_find(str_from(h->provider));
    CLEANUP(buf_erase) Buf text = BUF_INIT(TOKEN_MAX);
    Str token = secret_reveal(h->token);
    if (!p || !p->file)
        return 0;
    if (!p->base64 || is_document(token) || base64_read(str_trim(token), &text) < 0) {
        buf_erase(&text);
        text = BUF_INIT(TOKEN_MAX);
        (void)buf_adds(&text, token);
    }
    if (!h->path)
        h->path = path_join(directory, p->file);
    int rc = buf_check(&text, err);
    return rc < 0 ? rc : file_write_atomic(h->path, buf_str(&text), 0600, err);
}

/* ---- variables ---- */

static void set_secret(ChildEnv *env, const char *name, const Secret *value)
{
    CLEANUP_FREE char *text = str_dup(secret_reveal(value));
    child_env_set(env, name, text);
    secret_erase(text, strlen(text));
}

/* "my-tool" gives MY_TOOL_TOKEN; a name that is the platform's gives nothing. */
static void set_unknown(const Held *h, ChildEnv *env)
{
    CLEANUP_FREE char *name = xasprintf("%s_TOKEN", h->provider);
    for (char *c = name; *c; c++)
        *c = (char)(isalnum((unsigned char)*c) ? toupper((unsigned char)*c) : '_');
    if (!isdigit((unsigned char)*name) && !child_env_is_private(name))
        set_secret(env, name, h->token);
}

void provider_env(const Held *h, ChildEnv *env)
{
    const Provider *p = provider_find(str_from(h->provider));
    if (!h->token)
        return;
    if (!p) {
        set_unknown(h, env);
        return;
    }
    if (p->variable)
        set_secret(env, p->variable, h->token);
    if (p->path_variable && h->path)
        child_env_set(env, p->path_variable, h->path);
    if (p->url_variable && h->url)
        child_env_set(env, p->url_variable, h->url);
    if (p->email_variable && h->email)
        child_env_set(env, p->email_variable, h->email);
}

/* ---- git ---- */

static bool is_host(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!isalnum((unsigned char)s.ptr[i]) && s.ptr[i] != '.' && s.ptr[i] != '-')
            return false;
    return s.len > 0;
}

char *provider_git_host(const Held *h)
{
    const Provider *p = provider_find(str_from(h->provider));
    Url u;
    if (!p || !p->git_host)
        return NULL;
    if (!h->url || !*h->url)
        return xstrdup(p->git_host);
    if (url_parse(str_from(h->url), &u, NULL) < 0 || !str_eqz(u.scheme, "https") || u.has_userinfo ||
        !is_host(u.host))
        return NULL;
    if (str_eqz(u.host, "api.github.com"))
        return xstrdup("github.com");
    return u.port.len ? xasprintf(STR_FMT ":" STR_FMT, STR_ARG(u.host), STR_ARG(u.port)) : str_dup(u.host);
}

static void add_setting(ChildEnv *env, unsigned *n, const char *key, const char *value)
{
    char name[48];
    (void)snprintf(name, sizeof(name), "GIT_CONFIG_KEY_%u", *n);
    child_env_set(env, name, key);
    (void)snprintf(name, sizeof(name), "GIT_CONFIG_VALUE_%u", *n);
    child_env_set(env, name, value);
    (void)snprintf(name, sizeof(name), "%u", ++*n);
    child_env_set(env, "GIT_CONFIG_COUNT", name);
}

/* The first, empty helper takes those of the user's configuration out of the way for this host. */
static void add_helper(const Held *h, unsigned *n, ChildEnv *env)
{
    const Provider *p = provider_find(str_from(h->provider));
    CLEANUP_FREE char *host = provider_git_host(h);
    if (!host || !h->path || strchr(h->path, '\''))
        return;
    CLEANUP_FREE char *key = xasprintf("credential.https://%s.helper", host);
    CLEANUP_FREE char *helper = xasprintf("!f() { test \"$1\" = get || exit 0; echo username=%s; "
                                          "printf 'password=%%s\\n' \"$(cat '%s')\"; }; f",
                                          p->git_user, h->path);
    add_setting(env, n, key, "");
    add_setting(env, n, key, helper);
}

void providers_git_env(const Held *held, size_t n, ChildEnv *env)
{
    unsigned settings = 0;
    const char *there = child_env_get(env, "GIT_CONFIG_COUNT");
    uint64_t count;
    if (there && str_to_u64(str_from(there), &count) == 0 && count < 1000)
        settings = (unsigned)count;
    for (size_t i = 0; i < n; i++)
        if (held[i].token)
            add_helper(&held[i], &settings, env);
}
