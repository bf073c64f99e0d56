/* label, annotate: keys of a map that stands as JSON in a text. The change is made to the version that was
   read; when somebody else was faster it is read and made again. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include "apply.h"
#include "base/mem.h"
#include "kinds/search.h"
#include "listing.h"
#include "options.h"
#include "output.h"

#define TRIES_MAX 5

typedef struct Change {
    char *key, *value; /* value NULL: the key goes */
} Change;
typedef VEC_OF(Change)
Changes;

typedef struct Labeling {
    App *app;
    const Resource *r;
    const char *member; /* "labels", "annotations" */
    const char *done;   /* "labeled" */
    bool overwrite;
    Changes changes;
} Labeling;

static void changes_done(Changes *c)
{
    VEC_FOREACH (c, one) {
        free(one->key);
        free(one->value);
    }
    vec_free(c);
}

/* key=value, key- ; anything else is a name. */
static bool is_change(const char *word)
{
    size_t n = strlen(word);
    return strchr(word, '=') || (n > 1 && word[n - 1] == '-');
}

static int add_change(Labeling *l, const char *word, Err *err)
{
    Str value = str_from(word), key = str_cut(&value, '=');
    if (!value.ptr)
        key.len--; /* the '-' */
    bool label = strcmp(l->member, "labels") == 0;
    if (!key.len || (label && !label_key_ok(key)) || (label && value.ptr && !label_value_ok(value)))
        return err_set(err, ERR_USAGE, "\"%s\" is no %s: KEY=VALUE sets, KEY- removes", word,
                       label ? "label" : "annotation");
    vec_push(&l->changes, ((Change){str_dup(key), value.ptr ? str_dup(value) : NULL}));
    return 0;
}

/* Words behind the kind: names first, then changes. */
static int read_words(Labeling *l, const Args *a, size_t *ret_names, Err *err)
{
    size_t i = 1;
    while (i < args_len(a) && !is_change(arg_at(a, i)))
        i++;
    *ret_names = i;
    for (; i < args_len(a); i++) {
        int rc = is_change(arg_at(a, i))
                     ? add_change(l, arg_at(a, i), err)
                     : err_set(err, ERR_USAGE, "names stand before the changes: \"%s\"", arg_at(a, i));
        if (rc < 0)
            return rc;
    }
    return l->changes.len ? 0 : err_set(err, ERR_USAGE, "no change is given: KEY=VALUE sets, KEY- removes");
}

static int change_map(const Labeling *l, const char *name, json_t *map, Err *err)
{
    VEC_FOREACH (&l->changes, c) {
        const char *old = json_get_str(map, c->key);
        if (!c->value) {
            json_object_del(map, c->key);
            continue;
        }
        if (old && strcmp(old, c->value) != 0 && !l->overwrite)
            return err_set(err, ERR_CONFLICT, "%s/%s has %s=%s already; --overwrite changes it", l->r->noun,
                           name, c->key, old);
        json_object_set_new(map, c->key, json_strv(str_from(c->value)));
    }
    return 0;
}

/* 1 = changed, 0 = it was so already. */
static int change_once(const Labeling *l, const char *path, const char *name, Err *err)
{
    Exchange get = {.method = "GET", .path = path};
    int rc = app_exchange(l->app, &get, err);
    CLEANUP_JSON json_t *obj = get.answer;
    if (rc < 0)
        return rc;
    CLEANUP_JSON json_t *before = map_of_text(json_object_get(obj, l->member));
    CLEANUP_JSON json_t *map = json_copy(before);
    rc = change_map(l, name, map, err);
    if (rc < 0 || json_equal(map, before))
        return rc;
    CLEANUP_JSON json_t *body = json_object();
    const Field *f = &l->r->kind->fields[kind_field(l->r->kind, str_from(l->member))];
    json_object_set_new(body, l->member, wire_value(f, map));
    CLEANUP_BUF Buf text = BUF_INIT(16 * 1024 * 1024);
    json_write(&text, body);
    Exchange patch = {
        .method = "PATCH", .path = path, .body = buf_str(&text), .if_match = *get.etag ? get.etag : NULL};
    rc = app_exchange(l->app, &patch, err);
    json_decref(patch.answer);
    return rc < 0 ? rc : 1;
}

static int change_one(const Labeling *l, const char *collection, const json_t *obj, Err *err)
{
    const char *id = json_get_str(obj, "id"), *name = json_get_str(obj, "name");
    CLEANUP_FREE char *segment = path_segment(id);
    CLEANUP_FREE char *path = xasprintf("%s/%s", collection, segment);
    name = name ? name : id;
    for (unsigned n = 1;; n++) {
        Err e = {0};
        int rc = change_once(l, path, name, &e);
        if (rc == -ERR_PRECONDITION && n < TRIES_MAX)
            continue;
        if (rc < 0)
            return err_set(err, e.code, "%s", e.msg);
        printf("%s/%s %s\n", l->r->noun, name, rc ? l->done : "unchanged");
        return 0;
    }
}

static int run(Labeling *l, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *objects = NULL;
    CLEANUP_FREE char *collection = NULL;
    size_t names = 0;
    int rc = resource_need(arg_at(a, 0), &l->r, err);
    if (rc == 0 && kind_field(l->r->kind, str_from(l->member)) < 0)
        rc = err_set(err, ERR_USAGE, "%s have no %s", l->r->plural, l->member);
    if (rc == 0)
        rc = read_words(l, a, &names, err);
    if (rc == 0)
        rc = list_named(l->app, a, l->r, 1, names, &objects, err);
    if (rc == 0)
        rc = resource_path(l->app, l->r, &collection, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(objects); i++)
        rc = change_one(l, collection, json_array_get(objects, i), err);
    return rc;
}

static int label(App *app, const Args *a, const char *member, const char *done, Err *err)
{
    Labeling l = {.app = app, .member = member, .done = done, .overwrite = opt_bool(a, "overwrite")};
    int rc = run(&l, a, err);
    changes_done(&l.changes);
    return rc;
}

static int cmd_label(App *app, const Args *a, Err *err)
{
    return label(app, a, "labels", "labeled", err);
}

static int cmd_annotate(App *app, const Args *a, Err *err)
{
    return label(app, a, "annotations", "annotated", err);
}

static const Opt opts_label[] = {
    OPTS_PROJECT,
    OPT("overwrite", BOOL, "change keys that have another value"),
    OPT("all", BOOL, "everything of that kind in the project", .letter = 'A'),
    OPTS_SELECT,
    {0},
};

const Command commands_label[] = {
    {.words = "label",
     .usage = "RESOURCE [NAME...] CHANGE...",
     .min = 2,
     .max = COMMAND_MANY,
     .help = "Set and remove labels",
     .opts = opts_label,
     .run = cmd_label,
     .examples = "label agent reviewer team=core tier=1\n"
                 "# a dash behind the key removes it\n"
                 "label agents -l team=core tier-"},
    {.words = "annotate",
     .usage = "RESOURCE [NAME...] CHANGE...",
     .min = 2,
     .max = COMMAND_MANY,
     .help = "Set and remove annotations",
     .opts = opts_label,
     .run = cmd_annotate,
     .examples = "annotate agent reviewer ambient.io/rules=\"no force pushes\" --overwrite"},
    {0},
};
