/* What every command uses: configuration, one lazily made client, and calls that wait for their answer. */
#pragma once

#include "client/client.h"
#include "command.h"
#include "config.h"
#include "renew.h"

/* What the server said of the last call that failed; status 0 = none did. */
typedef struct Failure {
    int status;
    char code[64], operation[64];
} Failure;

struct App {
    const Args *args;
    Config *cfg;
    Loop *loop;
    Client *client;
    TokenSource *token;
    Timer *renew_timer; /* NULL = the token is not renewed */
    Renewal *renewal;   /* what the timer started */
    const char
        *project; /* where the next calls go, instead of --project-id and the current one; NULL = those */
    bool insecure;
    Failure failure;
    int exit_code; /* set by commands that end well with another status than 0 */
};

int app_init(App *app, const Args *args, Err *err); /* loads the configuration; no network */
void app_done(App *app);

int app_client(App *app, Err *err); /* "not logged in; run 'acpctl login' first" */
/* A newer token for the client, waited for; ERR_UNAUTHENTICATED when there is none to be had. */
int app_renew(App *app, Err *err);
/* --project-id, else the current project; ERR_USAGE with the hint when there is none. */
int app_project(App *app, const char **ret, Err *err);
const char *app_project_or_null(App *app);

/* A call with everything that one may want of it. */
typedef struct Exchange {
    const char *method, *path;
    Str body;                               /* ptr NULL = none */
    const char *content_type;               /* NULL = application/json */
    const char *accept;                     /* NULL = application/json */
    const char *if_match;                   /* NULL = any version */
    Buf *text;                              /* the raw answer goes here; NULL = not wanted */
    void (*on_bytes)(void *arg, Str bytes); /* or here, in pieces; NULL = not wanted */
    void *arg;
    json_t *answer; /* result: the caller's, NULL when it is not JSON */
    char etag[160]; /* result: "" = none */
} Exchange;
int app_exchange(App *app, Exchange *x, Err *err);

/* One call, waited for. *ret NULL when the answer has no body; body NULL = none. GETs are tried again up to
   three times when the server or the way to it is briefly away. */
int app_call(App *app, const char *method, const char *path, const json_t *body, json_t **ret, Err *err);
int app_get(App *app, json_t **ret, Err *err, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Whole list as one list object {kind,page,size,total,items}; limit 0 = all pages. `query` is appended to the
   path's own parameters, already escaped; may be NULL. Says "(showing N of TOTAL)" on stderr when the limit
   cut it. */
int app_list(App *app, const char *path, const char *query, int64_t limit, json_t **ret, Err *err);

char *path_segment(const char *text);                       /* percent-encoded, caller frees */
char *search_member(const char *member, const char *value); /* "search=member+%3D+'x'", caller frees */
char *search_name(const char *name); /* "search=name+%3D+'x'", quotes doubled, caller frees */
/* Adds " and member = 'value'", quotes doubled. */
void search_equal(Buf *b, const char *member, const char *value);

/* Request bodies from options: adds `member` when the option was given. Empty strings are sent. */
void body_str(json_t *body, const Args *a, const char *opt, const char *member);
void body_int(json_t *body, const Args *a, const char *opt, const char *member);   /* 0 = unset */
void body_float(json_t *body, const Args *a, const char *opt, const char *member); /* 0 = unset */
/* Repeated --env K=V into environment_variables; ERR_USAGE for a word without "=". */
int body_env(json_t *body, const Args *a, Err *err);

/* Asks "WHAT? [y/N]: " unless --yes or --confirm was given. 1 = yes, 0 = no ("Aborted." was said), < 0 =
 * cannot ask. */
int app_confirm(App *app, Err *err, const char *fmt, ...) PRINTF_LIKE(3, 4);
