#include "manifest-run.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "http/url.h"
#include "kustomize.h"
#include "selector.h"

#define ORDER_LAST 99

bool manifests_given(const Args *a)
{
    return opt_given(a, "filename") || opt_given(a, "kustomize");
}

static int load_kustomization(const Args *a, Docs *out, Err *err)
{
    const char *restrictor = opt_str(a, "load-restrictor");
    KustomizeOptions o = {
        .unrestricted = restrictor && strcmp(restrictor, "none") == 0,
        .no_base_selection = opt_bool(a, "no-base-selection"),
        .strict = opt_bool(a, "strict"),
    };
    if (restrictor && !o.unrestricted && strcmp(restrictor, "root") != 0)
        return err_set(err, ERR_USAGE, "--load-restrictor is root or none, not \"%s\"", restrictor);
    return kustomize_build(opt_str(a, "kustomize"), &o, out, err);
}

int manifests_load(const Args *a, Docs *out, Err *err)
{
    const char *const *files;
    if (!manifests_given(a))
        return err_set(err, ERR_USAGE, "one of -f or -k is required");
    if (opt_given(a, "filename") && opt_given(a, "kustomize"))
        return err_set(err, ERR_USAGE, "-f and -k are mutually exclusive");
    if (opt_given(a, "kustomize"))
        return load_kustomization(a, out, err);
    size_t n = opt_list(a, "filename", &files);
    for (size_t i = 0; i < n; i++) {
        int rc = docs_load(out, files[i], opt_bool(a, "recursive"), err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int validate_of(const Args *a, Validate *ret, Err *err)
{
    static const char *const words[] = {"strict", "warn", "ignore"};
    const char *v = opt_str(a, "validate");
    *ret = VALIDATE_STRICT;
    for (size_t i = 0; v && i < ARRAY_LEN(words); i++) {
        if (strcmp(v, words[i]) == 0) {
            *ret = (Validate)i;
            return 0;
        }
    }
    return v ? err_set(err, ERR_USAGE, "--validate is strict, warn or ignore, not \"%s\"", v) : 0;
}

/* A document that is wrong waits with its error until its turn: the others are right. */
static void add_work(Run *run, const Doc *d, Validate validate, bool expand)
{
    const ManifestKind *k = manifest_kind(doc_kind(d));
    Str kind = doc_kind(d);
    Work w = {.doc = d, .order = k ? k->order : ORDER_LAST};
    if (d->local)
        return;
    if (!k && (opt_bool(run->args, "ignore-unknown") || manifest_kind_is_foreign(kind))) {
        fprintf(stderr, "Warning: unknown kind \"" STR_FMT "\" \xE2\x80\x94 skipping\n", STR_ARG(kind));
        return;
    }
    if (item_from_doc(d, validate, expand, &w.item, &w.err) < 0 && !w.err.code)
        w.err.code = ERR_INTERNAL;
    vec_push(&run->works, w);
}

static int compare_works(const void *a, const void *b)
{
    const Work *x = a, *y = b;
    return x->order - y->order;
}

/* The project of the only Project document: its agents mean that one. */
static char *only_project(const Run *run)
{
    const char *found = NULL;
    VEC_FOREACH (&run->works, w) {
        if (!w->item || strcmp(w->item->kind->noun, "project") != 0)
            continue;
        if (found)
            return NULL;
        found = w->item->name;
    }
    return found ? xstrdup(found) : NULL;
}

/* qsort is not stable: a plain insertion keeps the order of the documents within a kind. */
static void sort_works(Run *run)
{
    for (size_t i = 1; i < run->works.len; i++) {
        Work w = run->works.ptr[i];
        size_t j = i;
        for (; j > 0 && compare_works(&run->works.ptr[j - 1], &w) > 0; j--)
            run->works.ptr[j] = run->works.ptr[j - 1];
        run->works.ptr[j] = w;
    }
}

int run_init(Run *run, App *app, const Args *a, bool expand, Err *err)
{
    Validate validate;
    run->app = app;
    run->args = a;
    int rc = validate_of(a, &validate, err);
    if (rc == 0)
        rc = manifests_load(a, &run->docs, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < run->docs.len; i++)
        add_work(run, run->docs.ptr[i], validate, expand);
    sort_works(run);
    if (!run->works.len)
        return err_set(err, ERR_USAGE, "no resources in the manifests");
    run->set_project = only_project(run);
    run->kept = map_new();
    run->applier = (Applier){
        .app = app,
        .project = opt_str(a, "project-id"),
        .set_project = run->set_project,
        .context = config_get(app->cfg, "project", NULL),
        .coming = map_new(),
    };
    return 0;
}

void run_done(Run *run)
{
    if (run->app)
        run->app->project = NULL;
    VEC_FOREACH (&run->works, w)
        item_free(w->item);
    vec_free(&run->works);
    docs_done(&run->docs);
    free(run->set_project);
    map_free(run->kept);
    map_free(run->applier.coming);
    json_decref(run->results);
}

void run_reverse(Run *run)
{
    for (size_t i = 0, j = run->works.len; i + 1 < j; i++, j--) {
        Work w = run->works.ptr[i];
        run->works.ptr[i] = run->works.ptr[j - 1];
        run->works.ptr[j - 1] = w;
    }
}

char *work_name(const Work *w)
{
    CLEANUP_BUF Buf b = BUF_INIT(64 * 1024);
    Str kind = w->item ? str_from(w->item->kind->name) : doc_kind(w->doc);
    for (size_t i = 0; i < kind.len; i++)
        buf_addc(&b, (char)(kind.ptr[i] >= 'A' && kind.ptr[i] <= 'Z' ? kind.ptr[i] | 0x20 : kind.ptr[i]));
    buf_addc(&b, '/');
    clean_text(&b, w->item ? str_from(w->item->name) : doc_name(w->doc), false);
    return buf_take(&b);
}

/* ---- what is said ---- */

static void add_result(Run *run, const Work *w, const char *status, const char *message)
{
    json_t *one = json_object();
    const char *name = w->item ? w->item->name : NULL;
    json_object_set_new(one, "kind",
                        w->item ? json_string(w->item->kind->name) : json_strv(doc_kind(w->doc)));
    json_object_set_new(one, "name", name ? json_string(name) : json_strv(doc_name(w->doc)));
    json_object_set_new(one, "status", json_string(status));
    if (message)
        json_object_set_new(one, "message", json_strv(str_from(message)));
    json_array_append_new(run->results, one);
}

void run_report(Run *run, const Work *w, const char *project, const char *status)
{
    if (run->results) {
        add_result(run, w, status, NULL);
        return;
    }
    CLEANUP_FREE char *name = work_name(w);
    const Resource *r = resource_find(w->item->kind->noun);
    bool elsewhere = r && (r->in_project || r->scoped) && project &&
                     (!run->applier.context || strcmp(project, run->applier.context) != 0);
    printf("%s %s", name, status);
    if (elsewhere)
        printf(" (project %s)", project);
    puts(run->dry ? " (server dry run)" : "");
    fflush(stdout);
}

void run_keep(Run *run, const char *id)
{
    if (id)
        map_put(run->kept, str_from(id), run);
}

static void say_failure(Run *run, const Work *w, const Err *e)
{
    CLEANUP_FREE char *name = work_name(w);
    CLEANUP_BUF Buf text = BUF_INIT(64 * 1024);
    clean_text(&text, str_from(e->msg), true);
    if (run->results)
        add_result(run, w, "error", e->msg);
    else
        fprintf(stderr, "%s: " STR_FMT "\n", name, STR_ARG(buf_str(&text)));
}

/* All failures of one sort keep that sort's exit status. */
static int sum_up(const Run *run, const char *verb, size_t failed, const Err *first, bool same, Err *err)
{
    ErrCode code = same ? first->code : ERR_INTERNAL;
    if (run->works.len > 1)
        return err_set(err, code, "%s: %zu of %zu resources failed", verb, failed, run->works.len);
    CLEANUP_FREE char *name = work_name(&run->works.ptr[0]);
    return err_set(err, code, "%s %s: %s", verb, name, first->msg);
}

int run_all(Run *run, const char *verb, RunStep step, Err *err)
{
    size_t failed = 0;
    Err first = {0};
    bool same = true;
    VEC_FOREACH (&run->works, w) {
        Err e = w->err;
        int rc = w->item ? step(run, w, &e) : -(int)e.code;
        run->app->project = NULL;
        if (rc == 0)
            continue;
        if (run->works.len > 1 || run->results)
            say_failure(run, w, &e);
        if (failed++ == 0)
            first = e;
        same = same && e.code == first.code;
        if (opt_bool(run->args, "fail-fast") || e.code == ERR_UNAUTHENTICATED)
            break;
    }
    return failed ? sum_up(run, verb, failed, &first, same, err) : 0;
}

/* ---- prune ---- */

/* Sessions are runs, not wishes, and a project takes everything with it: both only when asked for by name. */
static bool may_prune(const Run *run, const ManifestKind *k)
{
    const char *const *words;
    size_t n = opt_list(run->args, "prune-allowlist", &words);
    for (size_t i = 0; i < n; i++) {
        const Resource *r = resource_find(words[i]);
        if (r && strcmp(r->noun, k->noun) == 0)
            return true;
    }
    return n == 0 && strcmp(k->noun, "session") != 0 && strcmp(k->noun, "project") != 0;
}

typedef struct Stray {
    char *path, *name;
    char *project;
} Stray;
typedef VEC_OF(Stray)
Strays;

static void strays_done(Strays *s)
{
    VEC_FOREACH (s, one) {
        free(one->path);
        free(one->name);
        free(one->project);
    }
    vec_free(s);
}

/* Only what was applied before is ours to delete. */
static bool is_stray(const Run *run, const Selector *sel, const json_t *obj)
{
    CLEANUP_JSON json_t *annotations = map_of_text(json_object_get(obj, "annotations"));
    const char *id = json_get_str(obj, "id");
    return id && !map_has(run->kept, str_from(id)) && json_object_get(annotations, LAST_APPLIED) &&
           selector_matches(sel, obj);
}

static int find_strays(Run *run, const ManifestKind *k, const char *project, const Selector *sel, Strays *out,
                       Err *err)
{
    const Resource *r = resource_find(k->noun);
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *list = NULL;
    if (!r)
        return 0;
    run->app->project = project;
    CLEANUP_BUF Buf query = BUF_INIT(4096);
    if (r->scoped && !r->in_project) {
        CLEANUP_BUF Buf search = BUF_INIT(1024);
        search_equal(&search, "project_id", project);
        buf_addz(&query, "search=");
        url_escape_query(&query, buf_str(&search));
    }
    int rc = resource_path(run->app, r, &path, err);
    if (rc == 0)
        rc = app_list(run->app, path, query.data, 0, &list, err);
    json_t *items = json_get_arr(list, "items");
    for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
        json_t *obj = json_array_get(items, i);
        const char *name = json_get_str(obj, "name"), *id = json_get_str(obj, "id");
        if (is_stray(run, sel, obj))
            vec_push(out,
                     ((Stray){xasprintf("%s/%s", path, id), xasprintf("%s/%s", k->noun, name ? name : id),
                              project ? xstrdup(project) : NULL}));
    }
    return rc;
}

/* The projects that this set is about. */
static void add_projects(const Run *run, Map *projects)
{
    const char *dflt = run->applier.project       ? run->applier.project
                       : run->applier.set_project ? run->applier.set_project
                                                  : run->applier.context;
    if (dflt)
        map_put(projects, str_from(dflt), projects);
    VEC_FOREACH (&run->works, w) {
        if (w->item->project && !run->applier.project)
            map_put(projects, str_from(w->item->project), projects);
    }
}

/* In the order of deleting: what refers to others first. */
static int find_all_strays(Run *run, const Selector *sel, Strays *out, Err *err)
{
    CLEANUP(map_freep) Map *projects = map_new();
    add_projects(run, projects);
    size_t n;
    const ManifestKind *kinds = manifest_kinds(&n);
    for (size_t i = n; i-- > 0;) {
        const ManifestKind *k = &kinds[i];
        const Resource *r = resource_find(k->noun);
        const Kind *table = manifest_table(k);
        int rc = 0;
        if (!r || !table || kind_field(table, STR("labels")) < 0 || !may_prune(run, k))
            continue;
        if (!r->in_project && !r->scoped)
            rc = find_strays(run, k, NULL, sel, out, err);
        MAP_FOREACH (projects, it) {
            if (rc == 0 && (r->in_project || r->scoped))
                rc = find_strays(run, k, it.key.ptr, sel, out, err);
        }
        if (rc < 0 && rc != -ERR_NOT_FOUND) /* a server without that kind, a project that is gone */
            return err_wrap(err, "prune %s", r->plural);
    }
    return 0;
}

static int delete_strays(Run *run, const Strays *strays, Err *err)
{
    size_t failed = 0;
    VEC_FOREACH (strays, s) {
        Err e = {0};
        run->app->project = s->project;
        int rc = run->dry ? 0 : app_call(run->app, "DELETE", s->path, NULL, NULL, &e);
        failed += rc < 0;
        if (rc < 0)
            fprintf(stderr, "%s: %s\n", s->name, e.msg);
        else if (!run->results)
            printf("%s pruned%s\n", s->name, run->dry ? " (server dry run)" : "");
    }
    run->app->project = NULL;
    return failed ? err_set(err, ERR_INTERNAL, "prune: %zu of %zu resources failed", failed, strays->len) : 0;
}

int run_prune(Run *run, Err *err)
{
    CLEANUP(selector_freep) Selector *sel = NULL;
    CLEANUP(strays_done) Strays strays = {0};
    int rc = selector_parse(opt_str(run->args, "selector"), true, &sel, err);
    if (rc == 0)
        rc = find_all_strays(run, sel, &strays, err);
    if (rc < 0 || !strays.len)
        return rc;
    if (!run->dry)
        rc = app_confirm(run->app, err, "Delete %zu that are not in the manifests (%s%s)", strays.len,
                         strays.ptr[0].name, strays.len > 1 ? ", ..." : "");
    return (rc <= 0 && !run->dry) ? rc : delete_strays(run, &strays, err);
}
