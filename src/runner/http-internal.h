/* What the files of the HTTP interface share. Each area has a table of routes. */
#pragma once

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "http-api.h"
#include "http/server.h"
#include "json/json.h"
#include "runner.h"

struct HttpApi {
    Loop *loop;
    Runner *runner;
    HttpServer *server;
    List waiting;   /* requests of /events/{thread}/wait */
    json_t *mcp;    /* the last answer of /mcp/status */
    Usec mcp_until; /* how long it is used again */
    bool switching; /* the model */
};

typedef struct ApiRoute {
    const char *method;
    const char *path; /* "*": one segment, which the handler gets as tail; "**" at the end: the rest */
    void (*handle)(HttpApi *a, HttpReq *req, Str tail);
    bool open; /* no token needed */
} ApiRoute;

typedef struct ApiTable {
    const ApiRoute *ptr;
    size_t n;
} ApiTable;
extern const ApiTable api_agent, api_content, api_git, api_repos;

void reply_json(HttpReq *req, int status, const json_t *o);
void reply_detail(HttpReq *req, int status, const char *detail);
void reply_message(HttpReq *req, const char *message);
void reply_fault(HttpReq *req, const RunInputFault *f);
void reply_err(HttpReq *req, const Err *err);
/* The body; an empty one is an empty object. Answers by itself and returns NULL when it is none. */
json_t *read_object(HttpReq *req);

/* A request whose answer comes later. Its client may leave meanwhile: then `forget` is called, and it is
 * gone. */
typedef struct Later {
    HttpApi *api;
    HttpReq *req;
    void (*forget)(struct Later *l);
    void *job;
    char *text; /* the handler's own, freed with it */
} Later;
Later *later_new(HttpApi *a, HttpReq *req, void (*forget)(Later *l));
/* The answer is there: frees it and gives the request back. */
HttpReq *later_take(Later *l);
