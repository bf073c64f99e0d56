/*
 * Follows a kind: list, watch from the list's version, list again when that version is gone (410). Tells of
 * every object that is there and of every one that went, also of those that went while the watch was down: a
 * new list is compared with what was known. Keeps keys and versions, not objects.
 *
 * A watch is asked for 5 to 10 minutes at a time, with bookmarks; failures come back after 0.8 s doubling to
 * 30 s with jitter, forgotten after two minutes without one. Loop thread only.
 */
#pragma once

#include "kube/kube.h"

typedef struct KubeWatch KubeWatch;

typedef struct KubeWatchOps {
    void (*on_object)(void *arg, json_t *object); /* new or changed; borrowed */
    /* `last` is the object at its end when the server sent it, else NULL. */
    void (*on_gone)(void *arg, const char *ns, const char *name, const char *uid, json_t *last);
    void (*on_list)(void *arg);                          /* a complete list has been told; may be NULL */
    void (*on_failure)(void *arg, const KubeError *err); /* it will be tried again; may be NULL */
} KubeWatchOps;

/* Of the request: kind, ns, labels, fields. Texts are copied. */
KubeWatch *kube_watch_new(Kube *k, const KubeRequest *r, const KubeWatchOps *ops, void *arg);
KubeWatch *kube_watch_free(KubeWatch *w); /* NULL-safe; safe in its callbacks */
void kube_watch_relist(KubeWatch *w);     /* soon */

typedef struct KubeWatchStats {
    bool synced, connected;
    size_t objects;
    Usec list_at; /* monotonic, of the last complete list; 0 = none */
    Usec event_at;
    uint64_t lists, failed_lists, reconnects, expired, events;
} KubeWatchStats;
void kube_watch_stats(const KubeWatch *w, KubeWatchStats *ret);
