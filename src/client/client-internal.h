/* What the files of this room share. */
#pragma once

#include "base/list.h"
#include "base/mem.h"
#include "client/client.h"
#include "grpc/client.h"
#include "http/client.h"

struct Client {
    Loop *loop;
    HttpClient *http;             /* NULL = gRPC only */
    void (*rest_done)(Client *c); /* ends REST; set by rest.c, so that nobody else needs the HTTP client */
    GrpcChannel *channel;
    TlsContext *tls;    /* NULL = plaintext */
    char *base;         /* "http://host:8000/api/ambient/v1"; NULL = gRPC only */
    char *project;      /* NULL = none */
    TokenSource *token; /* borrowed; NULL = none */
    Usec timeout;
    List calls, pushes, lists, watches;
};

void client_stop_all(List *list, void (*stop)(ListLink *));
/* Each stops what it is linked into; called by client_free() for everything that still runs. */
void client_list_stop(ListLink *link);
void client_call_stop(ListLink *link);
void client_push_stop(ListLink *link);
void client_watch_detach(ListLink *link);

/* Bearer of the next call; NULL = none. */
const Secret *client_bearer(Client *c);
/* Appends the packed message; its maximum bounds the size. */
int client_pack(const ProtobufCMessage *m, Buf *out, Err *err);
/* "gRPC NotFound: <message>" with the nearest code. */
int client_grpc_error(GrpcStatus status, const char *message, Err *err);

#define CLIENT_MESSAGE_MAX ((size_t)16 << 20)
