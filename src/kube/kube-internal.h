/* Shared by the files of this room only. */
#pragma once

#include "base/list.h"
#include "http/client.h"
#include "kube/kube.h"

/* ---- credentials.c: what proves who we are, fresh ---- */

typedef struct Creds Creds;
/* `err` NULL: usable credentials are there. Called after kube_creds_ready() was false. */
typedef void (*CredsDone)(void *arg, const Err *err);
Creds *kube_creds_new(Loop *l, const KubeConfig *c, CredsDone done, void *arg);
Creds *kube_creds_free(Creds *c);
/* Looks at files again. False: they are being got, `done` will say so. */
bool kube_creds_ready(Creds *c);
const Secret *kube_creds_token(const Creds *c); /* NULL = none */
bool kube_creds_identity(const Creds *c,
                         HttpIdentity *ret); /* false = none; views live until the next look */
/* The server answered 401. True: asking again may help. */
bool kube_creds_refused(Creds *c);
/* The answer of an exec plug-in. */
typedef struct ExecAnswer {
    Secret *token, *key;
    char *cert;
    WallUsec expires; /* {0} = never */
} ExecAnswer;
int kube_exec_parse(Str text, ExecAnswer *ret, Err *err);
void kube_exec_done(ExecAnswer *a);

/* ---- path.c: where a request goes ---- */

/* ERR_INVALID for names that cannot be in a path. */
int kube_write_url(Buf *b, const char *server, const KubeRequest *r, Err *err);
const char *kube_method(KubeVerb v);
const char *kube_content_type(KubeVerb v); /* NULL = no body */
bool kube_verb_writes(KubeVerb v);
/* The body to send; NULL = none. The caller drops it. */
json_t *kube_request_body(const KubeRequest *r);

/* ---- status.c ---- */

/* From an answer that is no success. `body` NULL = no JSON. */
void kube_error_from_answer(KubeError *e, int status, const json_t *body, Str retry_after);
/* From a Status object inside a watch: its code and reason. */
void kube_error_from_status(KubeError *e, const json_t *status);
void kube_error_from_err(KubeError *e, const Err *err);
Usec kube_parse_retry_after(Str s); /* seconds; 0 = not said; at most 60 s */

/* ---- kube.c ---- */

struct Kube {
    Loop *loop;
    KubeOptions o;
    char *manager, *base_url;
    HttpClient *http;
    Creds *creds;
    List waiting;          /* calls that wait for the bucket */
    List background;       /* ... and those that let them pass */
    size_t n_waiting;      /* of both */
    unsigned n_background; /* of them have their place now */
    unsigned grants;
    Usec held_until; /* the server said that it has too much to do */
    List ready;      /* have their place, and wait for credentials at most */
    List active;     /* sent, or waiting to be sent again */
    bool freed;
    double tokens; /* of the bucket */
    Usec filled_at, last_answer;
    Usec lost_at; /* since then no request got an answer; 0 = the last one did */
    bool lost;    /* for so long that it is an outage */
    Timer *timer;
    KubeCount *counts;
    size_t n_counts, cap_counts;
};

struct KubeCall {
    Kube *kube;
    ListLink link;
    KubeVerb verb;
    KubeKind kind;
    char *url, *body;
    bool unfenced, urgent, background, retried_auth;
    bool queued, placed; /* counted in n_waiting, in n_background */
    unsigned tries;
    Usec timeout, deadline; /* deadline 0: not sent yet */
    Timer *retry;
    HttpCall *http;
    KubeDone done;
    void *arg;
    /* watches: the body goes on in pieces */
    HttpPiece on_piece;
    void (*on_open)(void *arg);
    KubeError error; /* found before anything was sent */
    void *owned;     /* freed with the call */
};

/* A watch: `done` comes when it ends, err NULL for a clean end. Its deadline is r->timeout. */
KubeCall *kube_stream(Kube *k, const KubeRequest *r, void (*on_open)(void *arg), HttpPiece on_piece,
                      KubeDone done, void *arg);
/* ---- call.c ---- */
KubeCall *kube_call_new(Kube *k, const KubeRequest *r, KubeDone done, void *arg);
void kube_call_send(KubeCall *c); /* now */
void kube_call_fail(KubeCall *c, const KubeError *e);
void kube_call_free(KubeCall *c);
void kube_count(Kube *k, KubeVerb verb, KubeKind kind, int code);
void kube_answered(Kube *k, bool answered);
void kube_queue(KubeCall *c);
void kube_unqueue(KubeCall *c); /* before it is moved to another list, or freed */
void kube_hold(Kube *k, Usec wait);

/* ---- lines.c: a watch's body ---- */

typedef void (*LineFn)(void *arg, Str line);
/* Cuts pieces into lines without their newline; empty ones are left out. A line over the Buf's maximum gives
   -ERR_TOO_LARGE. `stop` (may be NULL) is looked at between lines. */
int kube_lines_feed(Buf *rest, Str piece, LineFn fn, void *arg, const bool *stop);
