/* describe: everything about one object. For a program its JSON, for a person a page with what belongs to it.
 */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include "apply.h"
#include "base/mem.h"
#include "options.h"
#include "output.h"
#include "render.h"
#include "resource.h"

#define LABEL_WIDTH 26
#define LAST_MESSAGES 5

static void put_label(const char *name)
{
    CLEANUP_BUF Buf b = BUF_INIT(256);
    for (const char *p = name; *p; p++)
        buf_addc(&b, *p == '_' ? ' ' : *p);
    buf_addc(&b, ':');
    printf("%-*s", LABEL_WIDTH, b.data);
}

/* The first line stands beside the label, the others below it. */
static void put_text(Str text)
{
    CLEANUP_BUF Buf clean = BUF_INIT(16 * 1024 * 1024);
    clean_text(&clean, str_trim(text), true);
    Str rest = buf_str(&clean);
    for (bool first = true; rest.ptr; first = false) {
        Str line = str_cut(&rest, '\n');
        printf("%*s" STR_FMT "\n", first ? 0 : LABEL_WIDTH, "", STR_ARG(line));
    }
}

static void put_map(const json_t *map)
{
    CLEANUP_BUF Buf b = BUF_INIT(16 * 1024 * 1024);
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)map, key, v)
    {
        if (strcmp(key, LAST_APPLIED) == 0)
            continue; /* apply's own */
        CLEANUP_BUF Buf value = BUF_INIT(1024 * 1024);
        value_text(&value, v);
        buf_addf(&b, "%s%s=" STR_FMT, b.len ? "\n" : "", key, STR_ARG(buf_str(&value)));
    }
    put_text(buf_str(&b));
}

static void put_field(const Field *f, const json_t *v)
{
    put_label(f->json);
    if (f->flags & F_STRING_MAP) {
        CLEANUP_JSON json_t *map = map_of_text(v);
        put_map(map);
    } else if (json_is_string(v)) {
        put_text((Str){json_string_value(v), json_string_length(v)});
    } else {
        CLEANUP_BUF Buf b = BUF_INIT(1024 * 1024);
        value_text(&b, v);
        put_text(buf_str(&b));
    }
}

static void put_fields(const Kind *k, const json_t *obj)
{
    for (size_t i = 0; i < k->n_fields; i++) {
        const json_t *v = json_object_get(obj, k->fields[i].json);
        bool empty = !v || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0);
        if (!empty && strcmp(k->fields[i].json, "conditions") != 0)
            put_field(&k->fields[i], v);
    }
}

static void put_conditions(const json_t *obj)
{
    CLEANUP_JSON json_t *list = NULL;
    Str text = json_get_strv(obj, "conditions");
    if (!text.len || json_parse(text, &list, NULL) < 0 || !json_array_size(list))
        return;
    puts("\nConditions:");
    CLEANUP(table_freep)
    Table *t = table_new("TYPE:type:22 STATUS:status:8 REASON:reason:20 MESSAGE:message:60", false, true);
    for (size_t i = 0; i < json_array_size(list); i++)
        table_row(t, json_array_get(list, i));
}

/* What belongs to the object is told as far as it can be read. */
static void put_messages(App *app, const json_t *session)
{
    CLEANUP_JSON json_t *list = NULL;
    Err e = {0};
    if (app_get(app, &list, &e, "/sessions/%s/messages?after_seq=0", json_get_str(session, "id")) < 0) {
        fprintf(stderr, "(messages cannot be read: %s)\n", e.msg);
        return;
    }
    size_t n = json_array_size(list), from = n > LAST_MESSAGES ? n - LAST_MESSAGES : 0;
    printf("\nMessages: %zu\n", n);
    for (size_t i = from; i < n; i++)
        render_stored(json_array_get(list, i));
}

static void put_agent(App *app, const char *path, const json_t *agent)
{
    const char *session = json_get_str(agent, "current_session_id");
    CLEANUP_JSON json_t *current = NULL;
    CLEANUP_JSON json_t *inbox = NULL;
    size_t unread = 0;
    if (session && *session && app_get(app, &current, NULL, "/sessions/%s", session) == 0) {
        put_label("phase of the session");
        put_text(json_get_strv(current, "phase"));
    }
    CLEANUP_FREE char *list = xasprintf("%s/inbox", path);
    if (app_list(app, list, NULL, 0, &inbox, NULL) < 0)
        return;
    json_t *items = json_get_arr(inbox, "items");
    for (size_t i = 0; i < json_array_size(items); i++)
        unread += !json_get_bool(json_array_get(items, i), "read", false);
    put_label("inbox");
    printf("%zu messages, %zu unread\n", json_array_size(items), unread);
}

static int put_page(App *app, const Resource *r, const json_t *obj, Err *err)
{
    CLEANUP_FREE char *collection = NULL;
    int rc = resource_path(app, r, &collection, err);
    if (rc < 0)
        return rc;
    put_fields(r->kind, obj);
    put_conditions(obj);
    if (r->kind == &kind_session)
        put_messages(app, obj);
    if (r->kind == &kind_agent) {
        CLEANUP_FREE char *path = xasprintf("%s/%s", collection, json_get_str(obj, "id"));
        put_agent(app, path, obj);
    }
    return 0;
}

static int cmd_describe(App *app, const Args *a, Err *err)
{
    const Resource *r = NULL;
    CLEANUP_JSON json_t *obj = NULL;
    const char *output = opt_str(a, "output");
    bool page = output ? strcmp(output, "text") == 0 : stdout_is_terminal();
    int rc = resource_need(arg_at(a, 0), &r, err);
    if (rc == 0)
        rc = resource_get(app, r, arg_at(a, 1), &obj, err);
    if (rc < 0)
        return rc;
    if (page)
        return put_page(app, r, obj, err);
    return output ? print_object(a, obj, r->noun, resource_columns(r), err) : print_json(obj);
}

static const Opt opts_describe[] = {
    OPT("output", STR, "text (on a terminal), json (else), or one of the formats of get", .letter = 'o',
        .values = "text json yaml wide name jsonpath= custom-columns="),
    OPTS_PROJECT,
    {0},
};

const Command commands_describe[] = {
    {.words = "describe",
     .usage = "RESOURCE NAME",
     .min = 2,
     .max = 2,
     .help = "Show everything about one resource",
     .opts = opts_describe,
     .run = cmd_describe,
     .paged = true,
     .text = "On a terminal a page with what belongs to it: a session's conditions and last messages, an "
             "agent's current "
             "session and inbox. Elsewhere JSON.",
     .examples = "describe agent reviewer\ndescribe session nightly -o text"},
    {0},
};
