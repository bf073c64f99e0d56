#include "child-env.h"

#include <unistd.h>
#include "base/mem.h"
#include "base/secret.h"
#include "base/str.h"
#include "base/vec.h"

/* Names that end in '*' are prefixes. */
static const char *const private_names[] = {
    "BOT_TOKEN*",          "AMBIENT_CP_TOKEN_*",   "AGUI_TOKEN*",
    "AMBIENT_API_TOKEN*",  "AMBIENT_TOKEN*",       "CREDENTIAL_*",
    "AMBIENT_SANDBOX_*",   "LISTEN_FDS",           "LISTEN_PID",
    "LISTEN_FDNAMES",      "NOTIFY_SOCKET",        "INITIAL_PROMPT*",
    "LANGFUSE_SECRET_KEY", "MLFLOW_TRACKING_AUTH", "GOOGLE_OAUTH_CLIENT_SECRET",
};

static const char *const model_key_names[] = {
    "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN",
    "GEMINI_API_KEY",    "GOOGLE_API_KEY",       "OPENAI_API_KEY",
};

static bool name_matches(Str name, const char *pattern)
{
    Str p = str_from(pattern);

    if (p.ptr[p.len - 1] == '*')
        return str_starts(name, str_slice(p, 0, p.len - 1));
    return str_eq(name, p);
}

static bool name_in(Str name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (name_matches(name, list[i]))
            return true;
    return false;
}

bool child_env_is_private(const char *name)
{
    return name_in(str_from(name), private_names, ARRAY_LEN(private_names));
}

/* It may hold a token. */
static void var_free(char *var)
{
    secret_erase(var, strlen(var));
    free(var);
}

static void append(ChildEnv *e, char *var)
{
    if (e->n + 2 > e->cap) {
        e->cap = e->cap ? e->cap * 2 : 64;
        e->vars = xrealloc(e->vars, e->cap * sizeof(*e->vars));
    }
    e->vars[e->n++] = var;
    e->vars[e->n] = NULL;
}

void child_env_init(ChildEnv *e, bool model_keys)
{
    *e = (ChildEnv){0};
    append(e, xstrdup("AMBIENT_SESSION=1"));
    for (char **v = environ; v && *v; v++) {
        Str rest = str_from(*v);
        Str name = str_cut(&rest, '=');
        if (!rest.ptr || name_in(name, private_names, ARRAY_LEN(private_names)) ||
            (!model_keys && name_in(name, model_key_names, ARRAY_LEN(model_key_names))))
            continue;
        append(e, xstrdup(*v));
    }
}

void child_env_done(ChildEnv *e)
{
    for (unsigned long i = 0; i < e->n; i++)
        var_free(e->vars[i]);
    free(e->vars);
    *e = (ChildEnv){0};
}

static ptrdiff_t find(const ChildEnv *e, const char *name)
{
    Str wanted = str_from(name);

    for (unsigned long i = 0; i < e->n; i++) {
        Str rest = str_from(e->vars[i]);
        if (str_eq(str_cut(&rest, '='), wanted))
            return (ptrdiff_t)i;
    }
    return -1;
}

void child_env_set(ChildEnv *e, const char *name, const char *value)
{
    ptrdiff_t at = find(e, name);
    char *var = xasprintf("%s=%s", name, value);

    if (at < 0) {
        append(e, var);
        return;
    }
    var_free(e->vars[at]);
    e->vars[at] = var;
}

void child_env_default(ChildEnv *e, const char *name, const char *value)
{
    if (find(e, name) < 0)
        child_env_set(e, name, value);
}

const char *child_env_get(const ChildEnv *e, const char *name)
{
    ptrdiff_t at = find(e, name);

    return at < 0 ? NULL : strchr(e->vars[at], '=') + 1;
}

void child_env_unset(ChildEnv *e, const char *name)
{
    ptrdiff_t at = find(e, name);

    if (at < 0)
        return;
    var_free(e->vars[at]);
    e->vars[at] = e->vars[--e->n];
    e->vars[e->n] = NULL;
}
