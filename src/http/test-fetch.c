/*
 * One call with this room's client, for tests from outside (tests/api/test_http_client.py); not installed.
 * test-fetch METHOD URL [ca=FILE] [insecure] [unix=PATH] [body=TEXT] [bearer=TEXT] [timeout=MS] [max=BYTES]
 * [stream] Prints "STATUS CONTENT-TYPE" and the body, or "ERROR-NAME message" and exits 1.
 */
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "http/client.h"

typedef struct Program {
    Loop *loop;
    HttpClientOptions options;
    HttpRequest req;
    Secret *bearer;
    int exit_code;
} Program;

static void put(Str s)
{
    fwrite(s.ptr ? s.ptr : "", 1, s.len, stdout);
    fflush(stdout);
}

static void on_head(void *arg, const HttpResponse *r)
{
    printf("%d " STR_FMT "\n", r->status, STR_ARG(r->content_type));
    fflush(stdout);
}

static void on_piece(void *arg, Str bytes)
{
    put(bytes);
}

static void on_done(void *arg, const HttpResponse *r, const Err *err)
{
    Program *p = arg;
    if (err) {
        printf("%s %s\n", err_info(err->code)->name, err->msg);
        p->exit_code = 1;
    } else if (!p->req.on_piece) {
        on_head(p, r);
        put(r->body);
    }
    loop_stop(p->loop);
}

/* The text behind "name=", or NULL. */
static const char *value_of(const char *word, const char *name)
{
    size_t len = strlen(name);
    return strncmp(word, name, len) == 0 && word[len] == '=' ? word + len + 1 : NULL;
}

static uint64_t number(const char *text)
{
    uint64_t n = 0;
    str_to_u64(str_from(text), &n);
    return n;
}

static void option(Program *p, const char *word)
{
    const char *v;
    if (!strcmp(word, "insecure"))
        p->options.insecure_skip_verify = true;
    else if (!strcmp(word, "stream"))
        p->req.on_piece = on_piece, p->req.on_headers = on_head;
    else if ((v = value_of(word, "ca")))
        p->options.ca_file = v;
    else if ((v = value_of(word, "unix")))
        p->options.unix_socket = v;
    else if ((v = value_of(word, "body")))
        p->req.body = str_from(v);
    else if ((v = value_of(word, "bearer")))
        p->req.bearer = p->bearer = secret_new(str_from(v));
    else if ((v = value_of(word, "timeout")))
        p->req.timeout = number(v) * USEC_PER_MSEC;
    else if ((v = value_of(word, "max")))
        p->req.body_max = (size_t)number(v);
}

int main(int argc, char **argv)
{
    Program p = {.req.timeout = 20 * USEC_PER_SEC};
    HttpClient *client = NULL;
    Err err = {0};
    if (argc < 3)
        return 2;
    log_setup("test-fetch", LOG_WARN, false);
    p.req.method = argv[1];
    p.req.url = argv[2];
    for (int i = 3; i < argc; i++)
        option(&p, argv[i]);
    if (loop_new(&p.loop, &err) < 0 || http_client_new(p.loop, &p.options, &client, &err) < 0) {
        log_error("cannot start", F_ERR(&err));
        loop_free(p.loop);
        return 1;
    }
    http_send(client, &p.req, on_done, &p);
    loop_run(p.loop);
    http_client_free(client);
    loop_free(p.loop);
    secret_free(p.bearer);
    return p.exit_code;
}
