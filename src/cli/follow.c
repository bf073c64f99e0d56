#include "follow.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "live.h"
#include "output.h"
#include "render.h"

#define RETRY_MIN (500 * USEC_PER_MSEC)
#define RETRY_MAX (30 * USEC_PER_SEC)
#define EVENTS_MIN (200 * USEC_PER_MSEC)
#define EVENTS_MAX (5 * USEC_PER_SEC)
#define PHASE_POLL_BUSY (100 * USEC_PER_MSEC) /* after a run ended: the session may be about to */
#define PHASE_POLL_IDLE (2 * USEC_PER_SEC)

struct Interrupt {
    App *app;
    bool *done;
    SignalWatch *intr, *term;
};

static void on_intr(void *arg)
{
    Interrupt *i = arg;
    i->app->exit_code = 128 + SIGINT;
    *i->done = true;
}

static void on_term(void *arg)
{
    Interrupt *i = arg;
    i->app->exit_code = 128 + SIGTERM;
    *i->done = true;
}

Interrupt *interrupt_new(App *app, bool *done)
{
    Interrupt *i = xnew(Interrupt);
    i->app = app;
    i->done = done;
    i->intr = signal_watch_new(app->loop, SIGINT, on_intr, i);
    i->term = signal_watch_new(app->loop, SIGTERM, on_term, i);
    return i;
}

Interrupt *interrupt_free(Interrupt *i)
{
    if (!i)
        return NULL;
    signal_watch_free(i->intr);
    signal_watch_free(i->term);
    free(i);
    return NULL;
}

typedef struct Follow {
    App *app;
    const FollowOptions *o;
    Render *render;
    Live *live;
    ClientCall *stream, *poll, *events;
    Timer *retry, *phase_timer, *events_timer;
    Usec delay, phase_delay, events_delay;
    uint64_t seq;
    bool done, run_failed, connected, terminal_seen;
    bool in_run; /* the stored messages are inside a run */
    Buf early;   /* pieces that came before the message that their run has begun */
    char phase[32];
    Err err;
} Follow;

static void open_stream(void *arg);

static void finish(Follow *f)
{
    f->done = true;
}

static void say_reconnect(Follow *f, const char *what)
{
    if (f->o->end == FOLLOW_FOR_EVER) {
        printf("[reconnect] %s\n", what);
        fflush(stdout);
    }
}

/* ---- the runner's events: text while it is being written. They may be missing at any time: the messages
 * tell everything, only later. ---- */

static void show_early(Follow *f)
{
    if (!f->in_run)
        return;
    render_piece(f->render, buf_str(&f->early));
    buf_clear(&f->early);
    fflush(stdout);
}

static void on_event(void *arg, Str id, Str data)
{
    Follow *f = arg;
    CLEANUP_JSON json_t *e = NULL;
    CLEANUP_BUF Buf out = BUF_INIT(16 * 1024 * 1024);
    if (f->done || json_parse(data, &e, NULL) < 0)
        return;
    Str type = json_get_strv(e, "type"), message = json_get_strv(e, "messageId");
    if (!message.ptr)
        message = json_get_strv(e, "message_id");
    f->events_delay = EVENTS_MIN;
    if (str_eq(type, STR("TEXT_MESSAGE_START")) && !str_eq(json_get_strv(e, "role"), STR("user")))
        live_start(f->live, message, &out);
    else if (str_eq(type, STR("TEXT_MESSAGE_CONTENT")))
        live_piece(f->live, message, json_get_strv(e, "delta"), &out);
    else if (str_eq(type, STR("TEXT_MESSAGE_END")))
        live_end(f->live, message, &out);
    buf_adds(&f->early, buf_str(&out));
    show_early(f);
}

static void on_events_end(void *arg, const ClientAnswer *a, const Err *err)
{
    Follow *f = arg;
    f->events = NULL;
    if (f->done)
        return;
    timer_arm(f->events_timer, f->events_delay);
    f->events_delay = f->events_delay * 2 > EVENTS_MAX ? EVENTS_MAX : f->events_delay * 2;
}

static void open_events(void *arg)
{
    Follow *f = arg;
    if (f->done || f->events)
        return;
    CLEANUP_FREE char *path = xasprintf("/sessions/%s/events", f->o->session);
    ClientRequest r = {.method = "GET",
                       .path = path,
                       .accept = "text/event-stream",
                       .timeout = USEC_NEVER,
                       .on_event = on_event};
    f->events = client_request(f->app->client, &r, on_events_end, f);
}

/* A run has begun, so there is a runner. */
static void watch_events_now(Follow *f)
{
    f->events_delay = EVENTS_MIN;
    if (!f->events && !f->o->json)
        timer_arm(f->events_timer, 0);
}

/* ---- the stream of messages ---- */

/* A runner's record of an end names the message that was answered. One that names none is taken for ours. */
static bool is_our_end(const Follow *f, const json_t *message)
{
    CLEANUP_JSON json_t *record = NULL;
    if (!f->o->message || json_parse(json_get_strv(message, "payload"), &record, NULL) < 0)
        return true;
    int64_t named = json_get_int(record, "seq", 0);
    return named <= 0 || (uint64_t)named >= f->o->message;
}

/* What the agent said and has been seen while it was written is not shown again. */
static RenderEvent show_message(Follow *f, json_t *m)
{
    Str rest;
    bool begun;
    if (f->o->json || !str_eq(json_get_strv(m, "event_type"), STR("assistant")))
        return render_live(f->render, m, !f->o->json);
    live_stored(f->live, json_get_strv(m, "payload"), &rest, &begun);
    if (!begun && rest.ptr)
        return render_live(f->render, m, true);
    render_piece(f->render, rest);
    render_pieces_end(f->render);
    return RENDER_OTHER;
}

static bool is_run_start(const json_t *m)
{
    return str_eq(json_get_strv(m, "event_type"), STR("RUN_STARTED")) ||
           (str_eq(json_get_strv(m, "event_type"), STR("lifecycle")) &&
            str_find(json_get_strv(m, "payload"), STR("run_started")) >= 0);
}

static void enter_run(Follow *f)
{
    f->in_run = true;
    show_early(f);
}

/* An event stream has lines of a million bytes at most. */
static void say_truncated(const Follow *f, const json_t *m, uint64_t seq)
{
    if (json_get_bool(m, "truncated", false))
        fprintf(stderr, "[message %llu is longer: acpctl session messages %s shows it whole]\n",
                (unsigned long long)seq, f->o->session);
}

static void on_message(void *arg, Str id, Str data)
{
    Follow *f = arg;
    CLEANUP_JSON json_t *m = NULL;
    if (f->done || json_parse(data, &m, NULL) < 0 || !json_is_object(m))
        return;
    uint64_t seq = (uint64_t)json_get_int(m, "seq", 0);
    if (seq <= f->seq)
        return;
    f->seq = seq;
    f->delay = RETRY_MIN;
    if (f->o->json)
        print_json_line(data);
    if (!str_eq(json_get_strv(m, "event_type"), STR("user")) && !is_run_start(m))
        enter_run(f);
    RenderEvent ev = show_message(f, m);
    fflush(stdout);
    say_truncated(f, m, seq);
    if (ev == RENDER_RUN_STARTED) {
        f->run_failed = false;
        enter_run(f);
        watch_events_now(f);
    }
    if (ev == RENDER_RUN_FINISHED || ev == RENDER_RUN_FAILED)
        f->in_run = false;
    if (ev == RENDER_RUN_FAILED)
        f->run_failed = true;
    bool ended = ev == RENDER_RUN_FINISHED || ev == RENDER_RUN_FAILED;
    if (ended && f->o->end == FOLLOW_UNTIL_RUN_ENDS && is_our_end(f, m))
        finish(f);
    if (ended) {
        f->phase_delay = PHASE_POLL_BUSY;
        timer_arm(f->phase_timer, f->phase_delay);
    }
}

static void on_open(void *arg)
{
    Follow *f = arg;
    f->connected = true;
}

static void on_stream_end(void *arg, const ClientAnswer *a, const Err *err)
{
    Follow *f = arg;
    f->stream = NULL;
    if (f->done)
        return;
    if (err &&
        (err->code == ERR_NOT_FOUND || err->code == ERR_UNAUTHENTICATED || err->code == ERR_FORBIDDEN)) {
        f->err = *err;
        finish(f);
        return;
    }
    if (f->terminal_seen) {
        finish(f);
        return;
    }
    CLEANUP_FREE char *why = err ? xasprintf("stream not available: %s \xE2\x80\x94 retrying", err->msg)
                                 : xstrdup("stream ended \xE2\x80\x94 reconnecting");
    say_reconnect(f, why);
    f->connected = false;
    timer_arm(f->retry, err ? f->delay : RETRY_MIN / 5);
    f->delay = f->delay * 2 > RETRY_MAX ? RETRY_MAX : f->delay * 2;
}

static void open_stream(void *arg)
{
    Follow *f = arg;
    CLEANUP_FREE char *path =
        xasprintf("/sessions/%s/messages?after_seq=%llu", f->o->session, (unsigned long long)f->seq);
    ClientRequest r = {
        .method = "GET",
        .path = path,
        .accept = "text/event-stream",
        .timeout = USEC_NEVER,
        .on_event = on_message,
        .on_open = on_open,
    };
    f->stream = client_request(f->app->client, &r, on_stream_end, f);
}

/* ---- the session's phase: when it is terminal and its last message was shown, there is nothing to wait for
 * ---- */

/* One read of what is left, so that the last messages are shown before the end. */
static void on_rest(void *arg, const ClientAnswer *a, const Err *err)
{
    Follow *f = arg;
    f->poll = NULL;
    for (size_t i = 0; !err && i < json_array_size(a->body); i++) {
        CLEANUP_BUF Buf text = BUF_INIT(16 * 1024 * 1024);
        json_write_plain(&text, json_array_get(a->body, i));
        on_message(f, STR_NULL, buf_str(&text));
    }
    finish(f);
}

static void on_phase(void *arg, const ClientAnswer *a, const Err *err)
{
    Follow *f = arg;
    f->poll = NULL;
    if (f->done)
        return;
    if (err && err->code == ERR_NOT_FOUND) {
        f->err = *err;
        finish(f);
        return;
    }
    Str phase = err ? STR_NULL : json_get_strv(a->body, "phase");
    if (phase.len && phase_is_terminal(phase_parse(phase))) {
        f->terminal_seen = true;
        snprintf(f->phase, sizeof(f->phase), STR_FMT, STR_ARG(phase));
        CLEANUP_FREE char *path =
            xasprintf("/sessions/%s/messages?after_seq=%llu", f->o->session, (unsigned long long)f->seq);
        ClientRequest r = {.method = "GET", .path = path};
        f->poll = client_request(f->app->client, &r, on_rest, f);
        return;
    }
    timer_arm(f->phase_timer, f->phase_delay);
    f->phase_delay = f->phase_delay * 2 > PHASE_POLL_IDLE ? PHASE_POLL_IDLE : f->phase_delay * 2;
}

static void ask_phase(void *arg)
{
    Follow *f = arg;
    if (f->poll || f->done)
        return;
    CLEANUP_FREE char *path = xasprintf("/sessions/%s", f->o->session);
    ClientRequest r = {.method = "GET", .path = path};
    f->poll = client_request(f->app->client, &r, on_phase, f);
}

static int outcome(const Follow *f, Err *err)
{
    if (f->app->exit_code)
        return 0;
    if (f->err.code)
        return err_set(err, f->err.code, "%s", f->err.msg);
    if (f->o->end == FOLLOW_UNTIL_RUN_ENDS && f->run_failed)
        return err_set(err, ERR_INTERNAL, "run failed");
    if (strcmp(f->phase, phase_name(PHASE_FAILED)) == 0)
        return err_set(err, ERR_INTERNAL, "session %s failed; see: acpctl describe session %s", f->o->session,
                       f->o->session);
    return 0;
}

/* The server may refuse a token before its time: once the stream is opened with another one. */
static void follow_with_fresh_token(Follow *f)
{
    Err e = {0};
    if (app_renew(f->app, &e) < 0) {
        f->err = e;
        return;
    }
    f->err = (Err){0};
    f->done = false;
    open_stream(f);
    ask_phase(f);
    client_wait(f->app->loop, &f->done);
}

int follow_session(App *app, const FollowOptions *o, Err *err)
{
    int rc = app_client(app, err);
    if (rc < 0)
        return rc;
    Follow f = {.app = app, .o = o, .seq = o->after, .delay = RETRY_MIN, .phase_delay = PHASE_POLL_IDLE};
    f.render = render_new();
    f.live = live_new();
    f.early = BUF_INIT(16 * 1024 * 1024);
    f.in_run = o->after && !o->message;
    f.events_delay = EVENTS_MIN;
    f.events_timer = timer_new(app->loop, open_events, &f);
    f.retry = timer_new(app->loop, open_stream, &f);
    f.phase_timer = timer_new(app->loop, ask_phase, &f);
    Interrupt *interrupt = interrupt_new(app, &f.done);
    open_stream(&f);
    if (!o->json)
        open_events(&f);
    ask_phase(&f);
    client_wait(app->loop, &f.done);
    if (f.err.code == ERR_UNAUTHENTICATED && renew_possible(app->cfg))
        follow_with_fresh_token(&f);
    client_cancel(f.stream);
    client_cancel(f.poll);
    client_cancel(f.events);
    interrupt_free(interrupt);
    timer_free(f.retry);
    timer_free(f.phase_timer);
    timer_free(f.events_timer);
    render_pieces_end(f.render);
    live_free(f.live);
    buf_done(&f.early);
    render_free(f.render);
    return outcome(&f, err);
}

int follow_started(App *app, const json_t *session, Err *err)
{
    FollowOptions o = {.session = json_get_str(session, "id"), .end = FOLLOW_UNTIL_DONE};
    fflush(stdout);
    return o.session ? follow_session(app, &o, err) : err_set(err, ERR_BAD_GATEWAY, "the answer has no id");
}
