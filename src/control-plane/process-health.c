#include "process-health.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/mem.h"

#define PAUSE_MIN (10 * USEC_PER_MSEC)
#define PAUSE_MAX (500 * USEC_PER_MSEC)

struct Health {
    Loop *loop;
    HttpClient *http;
    HttpCall *call;
    Timer *timer; /* the next question */
    char url[64];
    Usec pause, deadline;
    HealthDone done;
    void *arg;
};

Health *health_free(Health *h)
{
    if (!h)
        return NULL;
    http_cancel(h->call);
    timer_free(h->timer);
    free(h);
    return NULL;
}

static void finish(Health *h, bool healthy)
{
    HealthDone done = h->done;
    h->done = NULL;
    if (done)
        done(h->arg, healthy);
}

static Usec left(const Health *h)
{
    return usec_sub(h->deadline, clock_now(loop_clock(h->loop)));
}

static void on_answer(void *arg, const HttpResponse *r, const Err *err)
{
    Health *h = arg;
    h->call = NULL;
    if (r && r->status == 200) {
        finish(h, true);
    } else if (left(h) == 0) {
        finish(h, false);
    } else {
        timer_arm(h->timer, h->pause < left(h) ? h->pause : left(h));
        h->pause = h->pause * 2 < PAUSE_MAX ? h->pause * 2 : PAUSE_MAX;
    }
}

/* A runner that was given its listening socket is connected at once and answers when it is up: one long
   question does. One that binds by itself refuses until then: many short ones. */
static void ask(void *arg)
{
    Health *h = arg;
    assert(!h->call && h->done);
    Usec time = left(h);
    const HttpRequest req = {
        .method = "GET", .url = h->url, .timeout = time > 0 ? time : USEC_PER_MSEC, .body_max = 64 * 1024};
    h->call = http_send(h->http, &req, on_answer, h);
}

Health *health_start(Loop *l, HttpClient *http, int64_t port, Usec patience, HealthDone done, void *arg)
{
    Health *h = xnew(Health);
    h->loop = l;
    h->http = http;
    h->pause = PAUSE_MIN;
    h->deadline = usec_add(clock_now(loop_clock(l)), patience);
    h->done = done;
    h->arg = arg;
    snprintf(h->url, sizeof(h->url), "http://127.0.0.1:%lld/health", (long long)port);
    h->timer = timer_new(l, ask, h);
    timer_arm(h->timer, 0);
    return h;
}
