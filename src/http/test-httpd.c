/*
 * A small server on this room for tests from outside (tests/api/test_http_negative.py) and measurements; not
 * installed. test-httpd [ADDRESS [CERT KEY]]: prints its port, runs until SIGTERM or the end of its input.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "base/mem.h"
#include "http/server.h"

typedef struct Program {
    Loop *loop;
    HttpServer *server;
    SignalWatch *term;
    FdWatch *input;
} Program;

/* As many events as asked for, as fast as the reader takes them. */
typedef struct Events {
    HttpStream *stream;
    uint64_t left;
} Events;

static void events_drain(void *arg)
{
    Events *e = arg;
    for (; e->left > 0 && http_stream_writable(e->stream); e->left--)
        http_stream_write(e->stream, STR("data: one event of a stream\n\n"));
    if (e->left > 0)
        return;
    http_stream_end(e->stream);
    free(e);
}

static const HttpStreamOps events_ops = {.on_drain = events_drain, .on_gone = free};

static void start_events(HttpReq *r)
{
    uint64_t n = 3;
    str_to_u64(http_req_query(r, "n"), &n);
    Events *e = xnew(Events);
    e->left = n;
    http_reply_header(r, "Content-Type", STR("text/event-stream"));
    e->stream = http_stream_start(r, 200, &events_ops, e);
    events_drain(e);
}

static void handle(void *arg, HttpReq *r)
{
    Str path = http_req_path(r);
    if (str_eqz(path, "/hello")) {
        http_reply_header(r, "Content-Type", STR("text/plain"));
        http_reply(r, 200, STR("hello"));
    } else if (str_eqz(path, "/echo")) {
        http_reply(r, 200, http_req_body(r));
    } else if (str_eqz(path, "/events")) {
        start_events(r);
    } else {
        http_reply(r, 404, STR("no such path\n"));
    }
}

static void stop(void *arg)
{
    Program *p = arg;
    loop_stop(p->loop);
}

static void input_ready(void *arg, unsigned ready)
{
    char buf[64];
    if (read(0, buf, sizeof buf) <= 0)
        stop(arg);
}

static int start(Program *p, int argc, char **argv, Err *err)
{
    HttpLimits limits = http_limits_default;
    limits.body_max = 1 << 20;
    limits.header_timeout = limits.body_timeout = 2 * USEC_PER_SEC;
    limits.idle_timeout = 5 * USEC_PER_SEC;
    TlsContext *tls = NULL;
    int rc = loop_new(&p->loop, err);
    if (rc == 0 && argc > 3) {
        TlsOptions o = {.cert_file = argv[2], .key_file = argv[3]};
        rc = tls_server_new(&o, &tls, err);
    }
    if (rc == 0)
        rc = http_server_new(p->loop, argc > 1 ? argv[1] : "127.0.0.1:0", tls, &limits, handle, NULL, p,
                             &p->server, err);
    tls_free(tls);
    return rc;
}

int main(int argc, char **argv)
{
    Program p = {0};
    Err err = {0};
    log_setup("test-httpd", LOG_WARN, false);
    if (start(&p, argc, argv, &err) < 0) {
        log_error("cannot start", F_ERR(&err));
        loop_free(p.loop);
        return 1;
    }
    printf("%d\n", http_server_port(p.server));
    fflush(stdout);
    p.term = signal_watch_new(p.loop, SIGTERM, stop, &p);
    p.input = fd_watch_new(p.loop, 0, FD_READ, input_ready, &p);
    loop_run(p.loop);
    fd_watch_free(p.input);
    signal_watch_free(p.term);
    http_server_free(p.server);
    loop_free(p.loop);
    return 0;
}
