/* v1 Events: sent once and forgotten. */
#include <stdio.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "kube-internal.h"

#define MESSAGE_MAX 1000 /* the server refuses more than 1024 bytes */
/* With so many requests waiting nobody will read of it in time. */
#define CROWD 1000

static void on_sent(void *arg, json_t *body, const KubeError *e)
{
    if (e)
        log_debug("event not sent", F_STR("component", "kubeclient"), F_ERR(&e->err));
}

/* Unique, and what the reference's own events look like. */
static char *event_name(const char *object)
{
    uint64_t r;
    random_bytes(&r, sizeof r);
    return xasprintf("%.220s.%016llx", object, (unsigned long long)r);
}

static json_t *reference(KubeKind kind, const json_t *object)
{
    const KubeResource *res = kube_resource(kind);
    CLEANUP_FREE char *version = xasprintf("%s%s%s", res->group, *res->group ? "/" : "", res->version);
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "apiVersion", version, "kind", res->kind, "name",
                     kube_name(object), "namespace", kube_namespace(object), "uid", kube_uid(object));
}

void kube_event(Kube *k, KubeKind kind, const json_t *object, KubeEventType type, const char *reason,
                const char *message)
{
    char now[RFC3339_MAX];
    const char *ns = kube_namespace(object);
    if (kube_waiting(k) >= CROWD)
        return;
    CLEANUP_FREE char *name = event_name(kube_name(object));
    WallUsec t = {clock_wall(loop_clock(k->loop)).us / (int64_t)USEC_PER_SEC * (int64_t)USEC_PER_SEC};
    Str said = str_slice(str_from(message), 0, MESSAGE_MAX);
    json_t *text = json_strv(said);
    rfc3339_format(t, now);
    CLEANUP_JSON json_t *body =
        json_pack("{s:{s:s, s:s}, s:o, s:s, s:s, s:o, s:s, s:s, s:i, s:{s:s}, s:s}", "metadata", "name", name,
                  "namespace", ns, "involvedObject", reference(kind, object), "type",
                  type == KUBE_EVENT_WARNING ? "Warning" : "Normal", "reason", reason, "message", text,
                  "firstTimestamp", now, "lastTimestamp", now, "count", 1, "source", "component", k->manager,
                  "reportingComponent", k->manager);
    kube_send(
        k, KUBE_REQUEST(.verb = KUBE_CREATE, .kind = KUBE_EVENTS, .ns = ns, .body = body, .background = true),
        on_sent, NULL);
}
