/* What each provider's credential becomes for the agent's tools. */
#pragma once

#include "base/secret.h"
#include "child-env.h"

typedef struct Provider {
    const char *name;
    const char *variable;      /* gets the token; NULL = none */
    const char *file;          /* in the private directory; NULL = none */
    const char *path_variable; /* names the file */
    const char *url_variable, *email_variable;
    const char *git_host; /* when the credential has no URL; NULL = git does not use it */
    const char *git_user;
    bool base64; /* the token may be base64 of what is meant */
} Provider;
const Provider *provider_find(Str name); /* NULL: <NAME>_TOKEN is all there is */

/* One credential, as it was fetched. */
typedef struct Held {
    char *provider;
    Secret *token; /* NULL = not fetched yet */
    char *url, *email;
    char *path; /* of its file; NULL = none */
} Held;

/* Writes the file of a credential, 0600, by moving it into place. */
int provider_write(const char *directory, Held *h, Err *err);
void provider_env(const Held *h, ChildEnv *env);
/* git: a helper per host, in variables, so that nobody's own configuration is touched. */
void providers_git_env(const Held *held, size_t n, ChildEnv *env);
/* The host of an https URL; NULL when it is none. Caller frees. */
char *provider_git_host(const Held *h);
