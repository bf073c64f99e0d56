/* apply, diff, and what create and delete do with manifests: one run over the documents, in the kinds' order.
   One failure does not hide the others; the exit status tells. Contract: cli.md 7. */
#include "apply.h"
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "diff.h"
#include "manifest-run.h"
#include "options.h"
#include "output.h"
#include "selector.h"
#include "yaml/yaml.h"

/* ---- apply ---- */

static int apply_step(Run *run, Work *w, Err *err)
{
    CLEANUP(plan_freep) Plan *p = NULL;
    int rc = plan_new(&run->applier, w->item, &p, err);
    if (rc < 0)
        return rc;
    const char *status = plan_status(p);
    CLEANUP_FREE char *coming = xasprintf("%s/%s", w->item->kind->noun, w->item->name);
    map_put(run->applier.coming, str_from(coming), run);
    rc = run->dry ? 0 : plan_execute(&run->applier, p, err);
    if (rc == 0) {
        run_keep(run, json_get_str(p->live, "id"));
        run_report(run, w, p->project, status);
    }
    return rc;
}

static int check_apply(const Args *a, Format *ret, Err *err)
{
    const char *dry = opt_str(a, "dry-run");
    if (dry && strcmp(dry, "client") != 0 && strcmp(dry, "server") != 0 && strcmp(dry, "none") != 0 &&
        strcmp(dry, "true") != 0 && strcmp(dry, "false") != 0)
        return err_set(err, ERR_USAGE,
                       "invalid argument \"%s\" for \"--dry-run\" flag: client, server or none", dry);
    if (opt_bool(a, "prune") && !opt_given(a, "selector"))
        return err_set(err, ERR_USAGE, "--prune needs --selector (-l): only what it selects is deleted");
    return format_of(a, ret, err);
}

/* Without a network: what would be applied, by name. */
static int say_documents(Run *run, Format f, Err *err)
{
    CLEANUP_JSON json_t *list = json_array();
    if (f == FORMAT_TABLE)
        puts("dry-run: would apply:");
    VEC_FOREACH (&run->works, w) {
        if (w->err.code)
            return err_set(err, w->err.code, "%s", w->err.msg);
        CLEANUP_FREE char *name = work_name(w);
        if (f == FORMAT_TABLE)
            printf("  %s\n", name);
        json_t *one = json_object();
        json_object_set_new(one, "kind", json_strv(doc_kind(w->doc)));
        json_object_set_new(one, "name", json_string(w->item->name));
        json_object_set_new(one, "status", json_string("dry-run"));
        json_array_append_new(list, one);
    }
    return f == FORMAT_TABLE ? 0 : print_json(list);
}

static int cmd_apply(App *app, const Args *a, Err *err)
{
    CLEANUP(run_done) Run run = {0};
    Format f = FORMAT_TABLE;
    const char *dry = opt_str(a, "dry-run");
    bool offline = dry && (strcmp(dry, "client") == 0 || strcmp(dry, "true") == 0);
    int rc = check_apply(a, &f, err);
    if (rc == 0)
        rc = run_init(&run, app, a, true, err);
    if (rc < 0)
        return rc;
    if (offline)
        return say_documents(&run, f, err);
    run.dry = dry && strcmp(dry, "server") == 0;
    run.results = f == FORMAT_TABLE ? NULL : json_array();
    rc = app_client(app, err);
    if (rc < 0)
        return rc;
    rc = run_all(&run, "apply", apply_step, err);
    if (rc == 0 && opt_bool(a, "prune"))
        rc = run_prune(&run, err);
    if (run.results)
        print_json(run.results);
    return rc;
}

/* ---- diff ---- */

/* What a person may set, JSON texts as values, without our own record of the last application. */
static json_t *shown(const Plan *p, const json_t *obj)
{
    const Kind *k = p->item->table;
    json_t *out = json_object();
    for (size_t i = FIELD_FIRST; i < k->n_fields; i++) {
        const Field *f = &k->fields[i];
        json_t *v = json_object_get(obj, f->json);
        if (!v || json_is_null(v) || !(f->flags & (F_CREATE | F_PATCH)) || f->flags & F_WRITE_ONLY)
            continue;
        json_t *value = NULL;
        if (f->type != FT_JSON_TEXT || !json_is_string(v) ||
            json_parse((Str){json_string_value(v), json_string_length(v)}, &value, NULL) < 0)
            value = json_incref(v);
        if (json_is_object(value))
            json_object_del(value, LAST_APPLIED);
        bool empty = (json_is_object(value) && json_object_size(value) == 0) ||
                     (json_is_string(value) && json_string_length(value) == 0);
        if (empty)
            json_decref(value);
        else
            json_object_set_new(out, f->json, value);
    }
    return out;
}

static void show_secrets(const Plan *p, json_t *before, json_t *after)
{
    const Kind *k = p->item->table;
    for (size_t i = FIELD_FIRST; i < k->n_fields; i++) {
        const Field *f = &k->fields[i];
        if (!(f->flags & F_WRITE_ONLY) || !json_object_get(p->want, f->json))
            continue;
        bool changed = json_object_get(p->body, f->json);
        if (p->live)
            json_object_set_new(before, f->json, json_string("(secret)"));
        json_object_set_new(after, f->json,
                            json_string(changed && p->live ? "(secret, to be set)" : "(secret)"));
    }
}

static int yaml_text(Buf *out, const json_t *v, Err *err)
{
    CLEANUP_BUF Buf b = BUF_INIT(64 * 1024 * 1024);
    int rc = json_object_size(v) ? yaml_write(&b, v, err) : 0;
    clean_text(out, buf_str(&b), true);
    return rc;
}

static int print_difference(Run *run, Work *w, const Plan *p, Err *err)
{
    CLEANUP_JSON json_t *full = p->live ? json_copy(p->live) : json_object();
    json_object_update(full, p->body);
    CLEANUP_JSON json_t *before = shown(p, p->live);
    CLEANUP_JSON json_t *after = shown(p, full);
    CLEANUP_BUF Buf a = BUF_INIT(64 * 1024 * 1024);
    CLEANUP_BUF Buf b = BUF_INIT(64 * 1024 * 1024);
    CLEANUP_BUF Buf text = BUF_INIT(128 * 1024 * 1024);
    show_secrets(p, before, after);
    if (json_array_size(p->inbox))
        json_object_set(after, "inbox", p->inbox);
    int rc = yaml_text(&a, before, err);
    if (rc == 0)
        rc = yaml_text(&b, after, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *name = work_name(w);
    CLEANUP_FREE char *server = xasprintf("%s (server)", name);
    CLEANUP_FREE char *manifest = xasprintf("%s (manifest)", name);
    diff_texts(&text, p->live ? server : NULL, buf_str(&a), manifest, buf_str(&b), use_color());
    if (text.len)
        run->app->exit_code = 1;
    fwrite(text.data ? text.data : "", 1, text.len, stdout);
    return buf_check(&text, err);
}

static int diff_step(Run *run, Work *w, Err *err)
{
    CLEANUP(plan_freep) Plan *p = NULL;
    int rc = plan_new(&run->applier, w->item, &p, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *coming = xasprintf("%s/%s", w->item->kind->noun, w->item->name);
    map_put(run->applier.coming, str_from(coming), run);
    return print_difference(run, w, p, err);
}

/* 1 says that there are differences, so an error must be another status. */
static int cmd_diff(App *app, const Args *a, Err *err)
{
    CLEANUP(run_done) Run run = {0};
    Err e = {0};
    int rc = run_init(&run, app, a, true, &e);
    if (rc == 0)
        rc = app_client(app, &e);
    if (rc == 0)
        rc = run_all(&run, "diff", diff_step, &e);
    if (rc == 0)
        return 0;
    app->exit_code = err_info(e.code)->exit_code == 1 ? 2 : 0;
    return err_set(err, e.code, "%s", e.msg);
}

/* ---- create -f, delete -f ---- */

static int create_step(Run *run, Work *w, Err *err)
{
    CLEANUP(plan_freep) Plan *p = NULL;
    int rc = plan_new(&run->applier, w->item, &p, err);
    if (rc == 0 && p->live)
        return err_set(err, ERR_CONFLICT, "is there already (id %s); use apply to change it",
                       json_get_str(p->live, "id"));
    if (rc == 0)
        rc = plan_execute(&run->applier, p, err);
    if (rc == 0)
        run_report(run, w, p->project, "created");
    return rc;
}

int create_manifests(App *app, const Args *a, Err *err)
{
    CLEANUP(run_done) Run run = {0};
    int rc = run_init(&run, app, a, true, err);
    if (rc == 0)
        rc = app_client(app, err);
    return rc < 0 ? rc : run_all(&run, "create", create_step, err);
}

static int delete_step(Run *run, Work *w, Err *err)
{
    CLEANUP(plan_freep) Plan *p = NULL;
    bool lenient = opt_bool(run->args, "ignore-not-found");
    int rc = plan_find(&run->applier, w->item, &p, err);
    if (rc == 0 && !p->live)
        rc = err_set(err, ERR_NOT_FOUND, "not found");
    if (rc == 0)
        rc = app_call(run->app, "DELETE", p->path, NULL, NULL, err);
    if (rc == 0)
        run_report(run, w, p->project, "deleted");
    return rc == -ERR_NOT_FOUND && lenient ? 0 : rc;
}

int delete_manifests(App *app, const Args *a, Err *err)
{
    CLEANUP(run_done) Run run = {0};
    int rc = run_init(&run, app, a, false, err);
    if (rc == 0)
        rc = app_client(app, err);
    if (rc < 0)
        return rc;
    run_reverse(&run);
    rc = app_confirm(app, err, "Delete the %zu resources of these manifests", run.works.len);
    return rc <= 0 ? rc : run_all(&run, "delete", delete_step, err);
}

static const Opt opts_apply[] = {
    OPTS_MANIFESTS,
    OPTS_OUTPUT,
    OPTS_PROJECT,
    OPTS_YES,
    OPT("dry-run", STR, "say what would be done; client: by name, without a server; server: compared with it",
        .bare = "client", .values = "client server none"),
    OPT("prune", BOOL, "delete what -l selects, was applied before and is no longer in the manifests"),
    OPT("selector", STR, "with --prune: labels of what may be deleted", .letter = 'l'),
    OPT("prune-allowlist", LIST, "with --prune: a kind that may be deleted; may be repeated",
        .values = "RESOURCE"),
    {0},
};
static const Opt opts_diff[] = {OPTS_MANIFESTS, OPTS_PROJECT, {0}};

#define MANIFEST_TEXT                                                                                        \
    "Documents are flat (kind, name, prompt ...) or have metadata and spec. A value that is $NAME, ${NAME} " \
    "or "                                                                                                    \
    "${NAME:-default} as a whole is taken from the environment; promptFrom: {file: x.md} and tokenFrom: "    \
    "{env: X} "                                                                                              \
    "read it from elsewhere. Agents and sessions go to --project, else to the document's `project`, else "   \
    "to the "                                                                                                \
    "only Project document, else to the current project."

const Command commands_apply[] = {
    {.words = "apply",
     .usage = "",
     .help = "Make resources as manifests say",
     .opts = opts_apply,
     .run = cmd_apply,
     .text = MANIFEST_TEXT " Applying the same twice changes nothing the second time. Keys of labels and "
                           "annotations that others set stay; keys that left the manifest go.",
     .examples = "apply -f fleet/\n"
                 "apply -k overlays/prod\n"
                 "# what would change\n"
                 "apply -f fleet/ --dry-run=server\n"
                 "# and delete what left the manifests\n"
                 "apply -f fleet/ --prune -l fleet=demo -y",
     .exits = "1 at least one of several resources failed; the others were applied"},
    {.words = "diff",
     .usage = "",
     .help = "Show what apply would change",
     .opts = opts_diff,
     .run = cmd_diff,
     .paged = true,
     .text = MANIFEST_TEXT " Secrets are never shown.",
     .examples = "diff -f fleet/\ndiff -k overlays/prod",
     .exits = "0 nothing would change\n1 something would change\n2 an error (others as everywhere)"},
    {0},
};
