#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include "base/ksuid.h"
#include "base/mem.h"
#include "follow.h"
#include "options.h"
#include "output.h"
#include "render.h"
#include "resource.h"

/* The id of a session given by id, name or prefix. A whole id costs no request. */
static int session_id(App *app, const char *name, char **ret, Err *err)
{
    if (ksuid_is_valid(str_from(name))) {
        *ret = xstrdup(name);
        return 0;
    }
    CLEANUP_JSON json_t *obj = NULL;
    int rc = resource_get(app, resource_find("session"), name, &obj, err);
    if (rc == 0)
        *ret = xstrdup(json_get_str(obj, "id"));
    return rc;
}

/* --type and --errors. */
static bool is_wanted(const Args *a, Str type)
{
    const char *const *types;
    size_t n = opt_list(a, "type", &types);
    if (opt_bool(a, "errors") && (str_eq(type, STR("error")) || str_eq(type, STR("RUN_ERROR"))))
        return true;
    for (size_t i = 0; i < n; i++) {
        if (str_ieq(type, str_from(types[i])))
            return true;
    }
    return n == 0 && !opt_bool(a, "errors");
}

static void keep_types(const Args *a, json_t *list)
{
    for (size_t i = json_array_size(list); i-- > 0;) {
        if (!is_wanted(a, json_get_strv(json_array_get(list, i), "event_type")))
            json_array_remove(list, i);
    }
}

static int print_messages(App *app, const Args *a, const char *id, Err *err)
{
    Format f;
    CLEANUP_JSON json_t *list = NULL;
    int rc = format_of(a, &f, err);
    if (rc == 0)
        rc = app_get(app, &list, err, "/sessions/%s/messages?after_seq=%lld", id,
                     (long long)opt_int(a, "after"));
    if (rc < 0)
        return err_wrap(err, "messages of session \"%s\"", id);
    keep_types(a, list);
    if (f != FORMAT_TABLE)
        return print_list(a, list, "message",
                          "SEQ:seq:8 TYPE:event_type:20 PAYLOAD:payload:60 AGE:created_at:10", NULL, err);
    for (size_t i = 0; i < json_array_size(list); i++)
        render_stored(json_array_get(list, i));
    return 0;
}

static int cmd_session_messages(App *app, const Args *a, Err *err)
{
    CLEANUP_FREE char *id = NULL;
    bool follow = opt_bool(a, "follow"), forever = opt_bool(a, "follow-reconnect");
    int rc = session_id(app, arg_at(a, 0), &id, err);
    if (rc < 0 || (!follow && !forever))
        return rc < 0 ? rc : print_messages(app, a, id, err);
    FollowOptions o = {
        .session = id,
        .after = opt_int(a, "after") > 0 ? (uint64_t)opt_int(a, "after") : 0,
        .end = forever                 ? FOLLOW_FOR_EVER
               : opt_given(a, "after") ? FOLLOW_UNTIL_RUN_ENDS
                                       : FOLLOW_UNTIL_DONE,
        .json = opt_bool(a, "json"),
    };
    if (!o.json)
        printf(forever ? "Continuously following session %s (Ctrl+C to stop)...\n\n"
                       : "Streaming events for session %s (Ctrl+C to stop)...\n\n",
               id);
    fflush(stdout);
    rc = follow_session(app, &o, err);
    if (forever)
        app->exit_code = 0;
    return rc;
}

static int cmd_session_send(App *app, const Args *a, Err *err)
{
    CLEANUP_FREE char *id = NULL;
    CLEANUP_JSON json_t *answer = NULL;
    int rc = session_id(app, arg_at(a, 0), &id, err);
    if (rc < 0)
        return rc;
    CLEANUP_JSON json_t *body = json_pack("{s:s, s:s}", "event_type", "user", "payload", arg_at(a, 1));
    if (!body)
        return err_set(err, ERR_USAGE, "the text must be valid UTF-8");
    CLEANUP_FREE char *path = xasprintf("/sessions/%s/messages", id);
    rc = app_call(app, "POST", path, body, &answer, err);
    if (rc < 0)
        return err_wrap(err, "send to session \"%s\"", id);
    int64_t seq = json_get_int(answer, "seq", 0);
    printf("sent (seq=%lld)\n", (long long)seq);
    if (!opt_bool(a, "follow"))
        return 0;
    fflush(stdout);
    FollowOptions o = {.session = id,
                       .after = (uint64_t)seq,
                       .end = FOLLOW_UNTIL_RUN_ENDS,
                       .message = (uint64_t)seq,
                       .json = opt_bool(a, "json")};
    return follow_session(app, &o, err);
}

/* ---- events: the runner's own stream, verbatim ---- */

typedef struct Events {
    bool done;
    Err err;
} Events;

static void on_event(void *arg, Str id, Str data)
{
    print_json_line(data);
    fflush(stdout);
}

static void on_events_end(void *arg, const ClientAnswer *a, const Err *err)
{
    Events *e = arg;
    e->done = true;
    if (err)
        e->err = *err;
}

static int cmd_session_events(App *app, const Args *a, Err *err)
{
    CLEANUP_FREE char *id = NULL;
    int rc = app_client(app, err);
    if (rc == 0)
        rc = session_id(app, arg_at(a, 0), &id, err);
    if (rc < 0)
        return rc;
    printf("Streaming events for session %s (Ctrl+C to stop)...\n\n", id);
    fflush(stdout);
    Events e = {0};
    CLEANUP_FREE char *path = xasprintf("/sessions/%s/events", id);
    ClientRequest r = {.method = "GET",
                       .path = path,
                       .accept = "text/event-stream",
                       .timeout = USEC_NEVER,
                       .on_event = on_event};
    ClientCall *call = client_request(app->client, &r, on_events_end, &e);
    bool stop = false;
    Interrupt *interrupt = interrupt_new(app, &stop);
    while (!e.done && !stop)
        loop_run_once(app->loop, true);
    if (!e.done)
        client_cancel(call);
    interrupt_free(interrupt);
    return e.err.code ? err_set(err, e.err.code, "%s", e.err.msg) : 0;
}

static const Opt opts_messages[] = {
    OPTS_OUTPUT,
    OPTS_NO_HEADERS,
    OPTS_PROJECT,
    OPT("after", INT, "only messages behind this seq; with -f: until the next run ends", .dflt = "0"),
    OPT("follow", BOOL, "go on until the session is done", .letter = 'f'),
    OPT("follow-reconnect", BOOL, "the same, and tell about lost connections", .letter = 'F'),
    OPT("json", BOOL, "with -f: one JSON object a line"),
    OPT("type", LIST, "without -f: only messages of this type; may be repeated"),
    OPT("errors", BOOL, "without -f: only errors"),
    {0},
};
static const Opt opts_send[] = {
    OPTS_PROJECT,
    OPT("follow", BOOL, "show the answer; the exit status is the run's", .letter = 'f'),
    OPT("json", BOOL, "with -f: one JSON object a line"),
    {0},
};
static const Opt opts_events[] = {OPTS_PROJECT, {0}};

const Command commands_session[] = {
    {.words = "session", .aliases = "sessions", .usage = "", .help = "Sessions: messages and events"},
    {.words = "session messages",
     .usage = "SESSION",
     .min = 1,
     .max = 1,
     .help = "Show or follow messages",
     .opts = opts_messages,
     .run = cmd_session_messages,
     .paged = true,
     .examples = "session messages nightly\n"
                 "# from the beginning until the run has ended\n"
                 "session messages nightly -f --after 0",
     .exits = "1 with -f: the run or the session failed"},
    {.words = "session send",
     .usage = "SESSION TEXT",
     .min = 2,
     .max = 2,
     .help = "Send a message to the agent",
     .opts = opts_send,
     .run = cmd_session_send,
     .examples = "session send nightly \"and now the slow tests\" -f",
     .exits = "1 with -f: the run failed"},
    {.words = "session events",
     .usage = "SESSION",
     .min = 1,
     .max = 1,
     .help = "Stream the runner's events",
     .opts = opts_events,
     .run = cmd_session_events,
     .examples = "session events nightly"},
    {0},
};
