/* Shared by client.c (multi handle, sockets, timers) and call.c (one call). */
#pragma once

#include <curl/curl.h>
#include "base/list.h"
#include "http/client.h"

struct HttpClient {
    Loop *loop;
    CURLM *multi;
    Timer *timer;
    List waiting, starting; /* calls that curl does not know yet */
    List running;
    bool kick_posted, freed;
    char *ca_file, *ca_pem, *user_agent, *unix_socket, *proxy;
    struct curl_slist *connect_to;
    bool insecure;
};

struct HttpCall {
    HttpClient *client;
    ListLink link; /* in one of the client's lists */
    CURL *easy;
    bool added;     /* to the multi handle */
    bool resume;    /* asked for by http_pause() */
    bool cancelled; /* nobody wants to hear of it; freed at the end of the turn */
    bool reached;   /* the connection stood: what failed came after that */
    HttpDone done;
    HttpPiece on_piece;
    bool every_status;
    void (*on_headers)(void *arg, const HttpResponse *r);
    bool (*may_send)(void *arg);
    void *arg;
    struct curl_slist *headers;
    char *body, *where; /* `where`: scheme and host, for messages */
    Buf in;             /* the answer's body, unless it is passed on in pieces */
    Buf fields;         /* the answer's header lines, each "Name: value\n" */
    HttpResponse response;
    bool headers_done;
    Err err; /* why we ended the transfer ourselves */
    char curl_error[CURL_ERROR_SIZE];
};

/* Never NULL; a request that cannot be sent has `err` set. */
HttpCall *call_new(HttpClient *c, const HttpRequest *req, HttpDone done, void *arg);
void call_resume(HttpCall *call);
/* Has what curl forbids inside its callbacks done by a post: starting calls, and going on with paused ones.
 */
void client_kick(HttpClient *c);
/* Tells the caller and frees the call at the end of the turn. */
void call_finish(HttpCall *call, CURLcode result);
