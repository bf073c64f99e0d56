/* logs and session export: what is known of a session beside its conversation, and everything in one file. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/mem.h"
#include "options.h"
#include "output.h"
#include "resource.h"

static int session_of(App *app, const char *name, char **ret, Err *err)
{
    CLEANUP_JSON json_t *obj = NULL;
    int rc = resource_get(app, resource_find("session"), name, &obj, err);
    if (rc == 0)
        *ret = xstrdup(json_get_str(obj, "id"));
    return rc;
}

static void put(const char *when, const char *who, Str text)
{
    CLEANUP_BUF Buf b = BUF_INIT(1024 * 1024);
    clean_text(&b, str_trim(text), true);
    printf("%-27s %-10s " STR_FMT "\n", when ? when : "", who, STR_ARG(buf_str(&b)));
}

/* What the runtime reported while it made the session's place. */
static int print_runtime(App *app, const char *id, Err *err)
{
    CLEANUP_JSON json_t *answer = NULL;
    int rc = app_get(app, &answer, err, "/sessions/%s/pod-events", id);
    json_t *events = json_is_array(answer) ? answer : json_get_arr(answer, "events");
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *e = json_array_get(events, i);
        CLEANUP_BUF Buf text = BUF_INIT(64 * 1024);
        Str reason = json_get_strv(e, "reason");
        buf_addf(&text, STR_FMT "%s" STR_FMT, STR_ARG(reason), reason.len ? ": " : "",
                 STR_ARG(json_get_strv(e, "message")));
        const char *when = json_get_str(e, "timestamp");
        put(when ? when : json_get_str(e, "last_timestamp"), "runtime", buf_str(&text));
    }
    return rc == -ERR_NOT_FOUND || rc == -ERR_METHOD_NOT_ALLOWED ? 0 : rc; /* other servers have none */
}

/* Runs, notices and errors; the conversation is for `session messages`. */
static int print_records(App *app, const char *id, Err *err)
{
    static const char *const types[] = {"lifecycle", "system", "error", "RUN_ERROR", "RUN_STARTED"};
    CLEANUP_JSON json_t *messages = NULL;
    int rc = app_get(app, &messages, err, "/sessions/%s/messages?after_seq=0", id);
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *m = json_array_get(messages, i);
        bool wanted = false;
        for (size_t k = 0; k < ARRAY_LEN(types); k++)
            wanted = wanted || str_eqz(json_get_strv(m, "event_type"), types[k]);
        if (wanted)
            put(json_get_str(m, "created_at"), json_get_str(m, "event_type"), json_get_strv(m, "payload"));
    }
    return rc;
}

/* The runner's own log, while there is a runner. */
static int print_runner(App *app, const char *id, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(16 * 1024 * 1024);
    CLEANUP_BUF Buf clean = BUF_INIT(16 * 1024 * 1024);
    CLEANUP_FREE char *path = xasprintf("/sessions/%s/logs", id);
    Exchange x = {.method = "GET", .path = path, .accept = "text/plain", .text = &text};
    Err e = {0};
    int rc = app_exchange(app, &x, &e);
    json_decref(x.answer);
    if (rc < 0) {
        bool ended = rc == -ERR_BAD_GATEWAY || rc == -ERR_UNAVAILABLE;
        fprintf(stderr, "(no log of the runner: %s)\n", ended ? "it is not running" : e.msg);
        if (ended) /* the server asks the runner itself, so its place has to be looked at */
            fprintf(stderr,
                    "(what it wrote is kept where it ran: sessions/%s/runner.log of the platform's data, or "
                    "'kubectl logs -l ambient-code.io/session-id=%s' while its pod is there)\n",
                    id, id);
        return rc == -ERR_UNAUTHENTICATED || rc == -ERR_FORBIDDEN ? err_set(err, e.code, "%s", e.msg) : 0;
    }
    clean_text(&clean, buf_str(&text), true);
    fwrite(clean.data ? clean.data : "", 1, clean.len, stdout);
    return 0;
}

static int cmd_logs(App *app, const Args *a, Err *err)
{
    CLEANUP_FREE char *id = NULL;
    int rc = session_of(app, arg_at(a, 0), &id, err);
    if (rc == 0)
        rc = print_runtime(app, id, err);
    if (rc == 0)
        rc = print_records(app, id, err);
    return rc == 0 ? print_runner(app, id, err) : rc;
}

/* ---- session export ---- */

static int cmd_export(App *app, const Args *a, Err *err)
{
    CLEANUP_FREE char *id = NULL;
    const char *file = opt_str(a, "file");
    int rc = session_of(app, arg_at(a, 0), &id, err);
    if (rc < 0)
        return rc;
    CLEANUP_BUF Buf text = BUF_INIT((size_t)256 << 20);
    CLEANUP_FREE char *path = xasprintf("/sessions/%s/export", id);
    Exchange x = {.method = "GET", .path = path};
    rc = app_exchange(app, &x, err);
    CLEANUP_JSON json_t *all = x.answer;
    if (rc < 0)
        return err_wrap(err, "export session \"%s\"", arg_at(a, 0));
    if (!file || strcmp(file, "-") == 0)
        return print_json(all);
    json_write_pretty(&text, all, 2);
    rc = buf_check(&text, err);
    if (rc == 0)
        rc = file_write_atomic(file, buf_str(&text), 0600, err);
    if (rc == 0)
        printf("session/%s exported to %s\n", id, file);
    return rc;
}

static const Opt opts_logs[] = {OPTS_PROJECT, {0}};
static const Opt opts_export[] = {
    OPTS_PROJECT,
    OPT("file", STR, "write it there (0600) instead of standard output", .letter = 'f', .values = "FILE"),
    {0},
};

const Command commands_logs[] = {
    {.words = "logs",
     .usage = "SESSION",
     .min = 1,
     .max = 1,
     .help = "Show what happened around a session's runs",
     .opts = opts_logs,
     .run = cmd_logs,
     .paged = true,
     .text = "First what the runtime reported while it made the session's place, then runs, notices and "
             "errors, then the "
             "runner's own log while it is running.",
     .examples = "logs nightly"},
    {.words = "session export",
     .usage = "SESSION",
     .min = 1,
     .max = 1,
     .help = "Write a session with all of its messages as JSON",
     .opts = opts_export,
     .run = cmd_export,
     .examples = "session export nightly -f nightly.json"},
    {0},
};
