#include "launcher-internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include "base/mem.h"
#include "client/client.h"

#define SESSIONS_TIMEOUT (25 * USEC_PER_SEC)
#define DOWN_TIMEOUT (45 * USEC_PER_SEC)
#define POLL (100 * USEC_PER_MSEC)

/* Stops every active session through the API, as a user would, and waits until none is left. Sessions that
   begin meanwhile are stopped too; what begins after the last look ends with the control plane. */
typedef struct Stopper {
    Loop *loop;
    Client *client;
    unsigned active, asked;
    bool done;
    Err err;
} Stopper;

static void on_stopped(void *arg, const ClientAnswer *a, const Err *err)
{
}

static void on_session(void *arg, Obj *o)
{
    Stopper *s = arg;
    Phase ph = obj_phase(o);
    if (phase_is_active(ph) || ph == PHASE_STOPPING)
        s->active++;
    if (phase_is_active(ph)) {
        CLEANUP_FREE char *path = xasprintf("/sessions/%s/stop", obj_cstr(o, FIELD_ID));
        ClientRequest r = {.method = "POST", .path = path};
        client_request(s->client, &r, on_stopped, s);
        s->asked++;
    }
    obj_free(o);
}

static void on_listed(void *arg, const Err *err)
{
    Stopper *s = arg;
    s->done = true;
    if (err)
        s->err = *err;
}

static int count_active(Stopper *s)
{
    s->active = 0;
    s->done = false;
    client_list_all(s->client, &kind_session, "/sessions", "", on_session, on_listed, s);
    client_wait(s->loop, &s->done);
    return s->err.code ? -(int)s->err.code : 0;
}

static void stop_sessions(const Place *p, const State *st)
{
    CLEANUP(secret_freep) Secret *token = NULL;
    CLEANUP(loop_freep) Loop *loop = NULL;
    CLEANUP_FREE char *url = xasprintf("http://%s", st->http);
    if (secret_from_file(p->token, &token, NULL) < 0 || loop_new(&loop, NULL) < 0)
        return;
    TokenSource *source = token_source_static(secret_reveal(token));
    ClientOptions o = {.api_url = url,
                       .grpc_address = st->grpc,
                       .token = source,
                       .user_agent = "ambient",
                       .request_timeout = 5 * USEC_PER_SEC};
    Stopper s = {.loop = loop};
    if (client_new(loop, &o, &s.client, NULL) == 0) {
        Usec end = usec_add(clock_now(&clock_system), SESSIONS_TIMEOUT);
        int rc = count_active(&s);
        if (s.asked)
            printf("Stopping %u session%s ...\n", s.asked, s.asked == 1 ? "" : "s");
        fflush(stdout);
        while (rc == 0 && s.active && clock_now(&clock_system) < end) {
            look_again_in(POLL);
            rc = count_active(&s);
        }
        client_free(s.client);
    }
    token_source_free(source);
}

int cmd_down(const Place *p, const Options *o, Err *err)
{
    State s = {0};
    if (!place_is_running(p)) {
        printf("Ambient is not running on %s.\n", p->dir);
        return 0;
    }
    int rc = state_load(p, &s, err);
    if (rc < 0)
        return err_wrap(err, "Ambient is starting or stopping; try again");
    if (!o->keep_sessions)
        stop_sessions(p, &s);
    if (kill(s.supervisor, o->keep_sessions ? SIGTERM : SIGUSR1) < 0 && errno != ESRCH)
        return err_set_errno(err, errno, "signal to the supervisor (pid %d)", (int)s.supervisor);
    Usec end = usec_add(clock_now(&clock_system), DOWN_TIMEOUT);
    while (place_is_running(p)) {
        if (clock_now(&clock_system) > end)
            return err_set(err, ERR_DEADLINE, "supervisor (pid %d) does not end; see: ambient logs",
                           (int)s.supervisor);
        look_again_in(20 * USEC_PER_MSEC);
    }
    printf("Ambient is down. Data stays in %s.\n", p->dir);
    return 0;
}
