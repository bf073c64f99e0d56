/* wait: until objects are as wanted. It asks again and again, soon at first, then every two seconds. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "follow.h"
#include "jsonpath.h"
#include "listing.h"
#include "options.h"
#include "output.h"
#include "wait.h"

#define POLL_MIN (100 * USEC_PER_MSEC)
#define POLL_MAX (2 * USEC_PER_SEC)
#define EXIT_TIMED_OUT 8

typedef enum Wish { WISH_MEMBER, WISH_CONDITION, WISH_DELETED } Wish;

typedef struct Waiter {
    App *app;
    const Resource *r;
    Wish wish;
    JsonPath *path; /* WISH_MEMBER: what must be... */
    char *value;    /* ... this; WISH_CONDITION: the status */
    char *type;     /* WISH_CONDITION */
    bool is_phase;
    Usec deadline;
    bool stop;
} Waiter;

static void waiter_done(Waiter *w)
{
    jsonpath_free(w->path);
    free(w->value);
    free(w->type);
}

static int bad_wish(const char *text, Err *err)
{
    return err_set(
        err, ERR_USAGE,
        "--for=%s: it is phase=NAME, condition=TYPE, condition=TYPE=STATUS, jsonpath=PATH=VALUE or delete",
        text);
}

static int parse_jsonpath_wish(Waiter *w, const char *text, Str rest, Err *err)
{
    ptrdiff_t close = str_find(rest, STR("}="));
    ptrdiff_t eq = close >= 0 ? close + 1 : str_find_byte(rest, '=');
    if (eq <= 0)
        return bad_wish(text, err);
    CLEANUP_FREE char *path = str_dup(str_slice(rest, 0, (size_t)eq));
    w->value = str_dup(str_slice(rest, (size_t)eq + 1, rest.len));
    return jsonpath_parse_field(path, &w->path, err);
}

static int parse_wish(Waiter *w, const char *text, Err *err)
{
    Str rest = str_from(text), word = str_cut(&rest, '=');
    if (str_eqz(word, "delete") && !rest.ptr) {
        w->wish = WISH_DELETED;
        return 0;
    }
    if (!rest.len)
        return bad_wish(text, err);
    if (str_eqz(word, "jsonpath"))
        return parse_jsonpath_wish(w, text, rest, err);
    if (str_eqz(word, "condition")) {
        w->wish = WISH_CONDITION;
        w->type = str_dup(str_cut(&rest, '='));
        w->value = rest.ptr ? str_dup(rest) : xstrdup("True");
        return 0;
    }
    if (!str_eqz(word, "phase"))
        return bad_wish(text, err);
    w->is_phase = true;
    w->value = str_dup(rest);
    if (phase_parse(rest) == _PHASE_INVALID)
        return err_set(err, ERR_USAGE, "--for=%s: there is no phase \"%s\"", text, w->value);
    return jsonpath_parse_field("phase", &w->path, err);
}

/* ---- one object ---- */

static bool has_condition(const Waiter *w, const json_t *obj)
{
    CLEANUP_JSON json_t *list = NULL;
    Str text = json_get_strv(obj, "conditions");
    if (!text.len || json_parse(text, &list, NULL) < 0)
        return false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        if (str_ieq(json_get_strv(c, "type"), str_from(w->type)) &&
            str_ieq(json_get_strv(c, "status"), str_from(w->value)))
            return true;
    }
    return false;
}

static bool has_value(const Waiter *w, const json_t *obj)
{
    CLEANUP_JSON json_t *values = jsonpath_values(w->path, obj);
    for (size_t i = 0; i < json_array_size(values); i++) {
        CLEANUP_BUF Buf b = BUF_INIT(1024 * 1024);
        value_text(&b, json_array_get(values, i));
        if (str_eqz(buf_str(&b), w->value))
            return true;
    }
    return false;
}

static bool is_granted(const Waiter *w, const json_t *obj)
{
    switch (w->wish) {
    case WISH_DELETED:
        return obj == NULL;
    case WISH_CONDITION:
        return obj && has_condition(w, obj);
    case WISH_MEMBER:
        return obj && has_value(w, obj);
    }
    return false;
}

/* A run that has ended another way will not come to what is waited for by itself. */
static int check_hopeless(const Waiter *w, const char *name, const json_t *obj, Err *err)
{
    const char *phase = json_get_str(obj, "phase");
    if (!obj && w->wish != WISH_DELETED)
        return err_set(err, ERR_NOT_FOUND, "%s \"%s\" is gone", w->r->noun, name);
    if (!w->is_phase || !phase || !phase_is_terminal(phase_parse(str_from(phase))))
        return 0;
    return err_set(err, ERR_INTERNAL, "%s/%s is %s and will not become %s", w->r->noun, name, phase,
                   w->value);
}

static int read_again(Waiter *w, const char *path, json_t **ret, Err *err)
{
    int rc = app_call(w->app, "GET", path, NULL, ret, err);
    if (rc == -ERR_NOT_FOUND)
        *ret = NULL;
    return rc == -ERR_NOT_FOUND ? 0 : rc;
}

static void on_timer(void *arg)
{
    *(bool *)arg = true;
}

/* Between two questions the loop runs: signals end the waiting. */
static void pause_for(Waiter *w, Usec delay)
{
    bool due = false;
    Timer *t = timer_new(w->app->loop, on_timer, &due);
    timer_arm(t, delay);
    while (!due && !w->stop)
        loop_run_once(w->app->loop, true);
    timer_free(t);
}

static int wait_for(Waiter *w, const char *path, const char *name, Err *err)
{
    Usec delay = POLL_MIN;
    bool progress = isatty(STDERR_FILENO);
    for (;;) {
        CLEANUP_JSON json_t *obj = NULL;
        int rc = read_again(w, path, &obj, err);
        if (rc == 0 && is_granted(w, obj)) {
            fputs(progress ? "\r\033[K" : "", stderr);
            printf("%s/%s %s\n", w->r->noun, name, w->wish == WISH_DELETED ? "deleted" : "condition met");
            return 0;
        }
        if (rc == 0)
            rc = check_hopeless(w, name, obj, err);
        if (rc < 0)
            return rc;
        Usec now = clock_now(&clock_system);
        if (now >= w->deadline) {
            w->app->exit_code = EXIT_TIMED_OUT;
            return err_set(err, ERR_DEADLINE, "timed out waiting for %s/%s", w->r->noun, name);
        }
        if (progress)
            fprintf(stderr, "\r\033[K%s/%s %s", w->r->noun, name,
                    json_get_str(obj, "phase") ? json_get_str(obj, "phase") : "");
        Usec left = usec_sub(w->deadline, now);
        pause_for(w, delay < left ? delay : left);
        if (w->stop)
            return 0;
        delay = delay * 2 > POLL_MAX ? POLL_MAX : delay * 2;
    }
}

int wait_session(App *app, const Args *a, const char *id, const char *phase, Err *err)
{
    CLEANUP(waiter_done) Waiter w = {.app = app, .r = resource_find("session"), .is_phase = true};
    CLEANUP_FREE char *path = xasprintf("/sessions/%s", id);
    w.value = xstrdup(phase);
    w.deadline = usec_add(clock_now(&clock_system), opt_duration(a, "timeout"));
    int rc = jsonpath_parse_field("phase", &w.path, err);
    if (rc < 0)
        return rc;
    Interrupt *interrupt = interrupt_new(app, &w.stop);
    rc = wait_for(&w, path, id, err);
    interrupt_free(interrupt);
    return rc;
}

static int wait_all(Waiter *w, const Args *a, json_t *objects, Err *err)
{
    CLEANUP_FREE char *collection = NULL;
    int rc = resource_path(w->app, w->r, &collection, err);
    for (size_t i = 0; rc == 0 && !w->stop && i < json_array_size(objects); i++) {
        const json_t *obj = json_array_get(objects, i);
        const char *id = json_get_str(obj, "id");
        CLEANUP_FREE char *segment = path_segment(id ? id : "");
        CLEANUP_FREE char *path = xasprintf("%s/%s", collection, segment);
        const char *name = arg_at(a, 1 + i) ? arg_at(a, 1 + i) : json_get_str(obj, "name");
        rc = wait_for(w, path, name ? name : id, err);
    }
    return rc;
}

/* What is to be deleted may be gone before the first look. */
static bool is_gone_already(const Waiter *w, int rc)
{
    return rc == -ERR_NOT_FOUND && w->wish == WISH_DELETED;
}

static int cmd_wait(App *app, const Args *a, Err *err)
{
    CLEANUP(waiter_done) Waiter w = {.app = app};
    CLEANUP_JSON json_t *objects = NULL;
    if (!opt_given(a, "for"))
        return err_set(err, ERR_USAGE, "--for is required, e.g. --for=phase=Completed");
    int rc = resource_need(arg_at(a, 0), &w.r, err);
    if (rc == 0)
        rc = parse_wish(&w, opt_str(a, "for"), err);
    if (rc == 0)
        rc = app_client(app, err);
    if (rc < 0)
        return rc;
    w.deadline = usec_add(clock_now(&clock_system), opt_duration(a, "timeout"));
    Err e = {0};
    rc = list_named(app, a, w.r, 1, args_len(a), &objects, &e);
    if (is_gone_already(&w, rc)) {
        printf("%s/%s deleted\n", w.r->noun, arg_at(a, 1));
        return 0;
    }
    if (rc < 0)
        return err_set(err, e.code, "%s", e.msg);
    Interrupt *interrupt = interrupt_new(app, &w.stop);
    rc = wait_all(&w, a, objects, err);
    interrupt_free(interrupt);
    return rc;
}

static const Opt opts_wait[] = {
    OPTS_PROJECT,
    OPT("for", STR, "phase=NAME, condition=TYPE[=STATUS], jsonpath=PATH=VALUE or delete"),
    OPT("timeout", DURATION, "give up after", .dflt = "30s"),
    OPT("all", BOOL, "everything of that kind in the project", .letter = 'A'),
    OPTS_SELECT,
    {0},
};

const Command commands_wait[] = {
    {.words = "wait",
     .usage = "RESOURCE [NAME...]",
     .min = 1,
     .max = COMMAND_MANY,
     .help = "Wait until resources are as wanted",
     .opts = opts_wait,
     .run = cmd_wait,
     .text =
         "A session that ended another way ends the waiting at once: it will not become what is waited for.",
     .examples = "wait session nightly --for=phase=Completed --timeout 10m\n"
                 "wait sessions -l batch=7 --for=phase=Completed --timeout 1h\n"
                 "wait application web --for=jsonpath=.sync_status=Synced\n"
                 "wait session nightly --for=delete",
     .exits = "1 a session ended another way\n8 the time is over"},
    {0},
};
