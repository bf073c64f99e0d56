/* A list in pages. */
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "kube-internal.h"

#define PAGE 500
/* A list that expires again and again is asked for in one piece. */
#define RESTARTS_MAX 2

struct KubeList {
    Kube *kube;
    KubeKind kind;
    char *ns, *labels, *fields, *page;
    unsigned limit, restarts;
    bool urgent, background;
    KubeEach each;
    KubeListDone done;
    void *arg;
    KubeCall *call;
    bool cancelled;
};

static void release(void *arg)
{
    KubeList *l = arg;
    free(l->ns);
    free(l->labels);
    free(l->fields);
    free(l->page);
    free(l);
}

void kube_list_cancel(KubeList *l)
{
    if (!l || l->cancelled)
        return;
    l->cancelled = true;
    kube_cancel(l->call);
    loop_defer(l->kube->loop, release, l);
}

static void end(KubeList *l, const char *version, const KubeError *e)
{
    l->cancelled = true;
    loop_defer(l->kube->loop, release, l);
    l->done(l->arg, version, e);
}

static void ask(KubeList *l);

static bool restart(KubeList *l, const KubeError *e)
{
    if (e->status != 410 || !l->page || l->restarts >= RESTARTS_MAX)
        return false;
    free(TAKE(l->page));
    if (++l->restarts == RESTARTS_MAX)
        l->limit = 0;
    ask(l);
    return true;
}

static void on_page(void *arg, json_t *body, const KubeError *e)
{
    KubeList *l = arg;
    l->call = NULL;
    if (e) {
        if (!restart(l, e))
            end(l, NULL, e);
        return;
    }
    const json_t *items = json_get_arr(body, "items"), *meta = json_get_obj(body, "metadata");
    for (size_t i = 0; i < json_array_size(items) && !l->cancelled; i++)
        if (json_is_object(json_array_get(items, i)))
            l->each(l->arg, json_array_get(items, i));
    if (l->cancelled)
        return;
    free(TAKE(l->page));
    const char *next = json_get_str(meta, "continue"), *version = json_get_str(meta, "resourceVersion");
    if (next && *next) {
        l->page = xstrdup(next);
        ask(l);
        return;
    }
    end(l, version ? version : "", NULL);
}

static void ask(KubeList *l)
{
    l->call = kube_send(l->kube,
                        KUBE_REQUEST(.verb = KUBE_LIST, .kind = l->kind, .ns = l->ns, .labels = l->labels,
                                     .fields = l->fields, .page = l->page, .limit = l->limit,
                                     .urgent = l->urgent, .background = l->background),
                        on_page, l);
}

static char *dup_or_null(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

KubeList *kube_list(Kube *k, const KubeRequest *r, KubeEach each, KubeListDone done, void *arg)
{
    KubeList *l = xnew(KubeList);
    *l = (KubeList){
        .kube = k,
        .kind = r->kind,
        .ns = dup_or_null(r->ns),
        .labels = dup_or_null(r->labels),
        .fields = dup_or_null(r->fields),
        .limit = r->limit ? r->limit : PAGE,
        .urgent = r->urgent,
        .background = r->background,
        .each = each,
        .done = done,
        .arg = arg,
    };
    ask(l);
    return l;
}
