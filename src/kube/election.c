#include "kube/election.h"

#include <assert.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "kube-internal.h"

#define DURATION (15 * USEC_PER_SEC)
#define DEADLINE (10 * USEC_PER_SEC)
#define RETRY (2 * USEC_PER_SEC)
#define JITTER 0.2

struct Election {
    ElectionOptions o;
    Loop *loop;
    char *ns, *name, *identity;
    Timer *timer;  /* when to look at the Lease next */
    Timer *expiry; /* leading ends, whatever is under way */
    KubeCall *call;
    json_t *lease; /* as last seen or written; NULL = none */
    char *seen;    /* its resourceVersion, when it last changed ... */
    Usec seen_at;  /* ... by our clock */
    bool leading, releasing;
    Usec valid_until, asked_at;
    LoopFn released;
    void *released_arg;
};

static Usec now_of(const Election *e)
{
    return clock_now(loop_clock(e->loop));
}

static Str holder(const Election *e)
{
    return json_get_strv(json_get_obj(e->lease, "spec"), "holderIdentity");
}

const char *election_holder(const Election *e)
{
    const char *s = json_get_str(json_get_obj(e->lease, "spec"), "holderIdentity");
    return s ? s : "";
}

bool election_leading(const Election *e)
{
    return e->leading;
}

/* By the time it is, not the one at which this turn of the loop began: the process may have been stopped in
 * between. */
bool election_valid(const Election *e)
{
    return e->leading && clock_now(&clock_system) < e->valid_until;
}

/* ---- the two states ---- */

static void lead(Election *e)
{
    if (e->leading)
        return;
    e->leading = true;
    log_info("leading", F_STR("identity", e->identity));
    if (e->o.on_lead)
        e->o.on_lead(e->o.arg);
}

static void lose(Election *e, const char *why)
{
    if (!e->leading)
        return;
    e->leading = false;
    timer_cancel(e->expiry);
    log_warn("not leading any more", F_STR("identity", e->identity), F_STR("reason", why));
    if (e->o.on_lose && !e->releasing)
        e->o.on_lose(e->o.arg);
}

/* ---- the Lease ---- */

static void see(Election *e, json_t *lease)
{
    const char *version = kube_version(lease);
    json_decref(e->lease);
    e->lease = json_incref(lease);
    if (e->seen && strcmp(e->seen, version) == 0)
        return;
    free(e->seen);
    e->seen = xstrdup(version);
    e->seen_at = now_of(e);
}

/* Others count the holder's own duration from the last change they saw. */
static bool is_free(const Election *e)
{
    const json_t *spec = json_get_obj(e->lease, "spec");
    int64_t seconds = json_get_int(spec, "leaseDurationSeconds", 0);
    Usec duration = seconds > 0 && seconds < 3600 ? (Usec)seconds * USEC_PER_SEC : e->o.duration;
    return holder(e).len == 0 || now_of(e) - e->seen_at >= duration;
}

static bool is_ours(const Election *e)
{
    return e->lease && str_eqz(holder(e), e->identity);
}

static void format_micro(WallUsec t, char out[static RFC3339_MAX])
{
    /* MicroTime wants exactly six digits; the formatter cuts trailing zeros. */
    WallUsec seconds = {t.us / (int64_t)USEC_PER_SEC * (int64_t)USEC_PER_SEC};
    Str s = rfc3339_format(seconds, out);
    snprintf(out + s.len - 1, RFC3339_MAX - s.len + 1, ".%06uZ", (unsigned)(t.us % (int64_t)USEC_PER_SEC));
}

/* The Lease as we want it: ours, or (release) nobody's. */
static json_t *make_lease(const Election *e, bool release)
{
    char now[RFC3339_MAX];
    json_t *lease = e->lease ? json_deep_copy(e->lease)
                             : json_pack("{s:{s:s, s:s}}", "metadata", "name", e->name, "namespace", e->ns);
    json_t *old = json_get_obj(lease, "spec");
    int64_t transitions = json_get_int(old, "leaseTransitions", 0);
    const char *since = json_get_str(old, "acquireTime");
    bool takes_over = !is_ours(e);
    format_micro(clock_wall(loop_clock(e->loop)), now);
    json_t *spec =
        json_pack("{s:s, s:I, s:s, s:s, s:I}", "holderIdentity", release ? "" : e->identity,
                  "leaseDurationSeconds", (json_int_t)(release ? 1 : e->o.duration / USEC_PER_SEC),
                  "acquireTime", takes_over || !since ? now : since, "renewTime", now, "leaseTransitions",
                  (json_int_t)(transitions + (takes_over && e->lease ? 1 : 0)));
    json_object_set_new(lease, "spec", spec);
    return lease;
}

/* ---- one round: read unless it is ours, then write if it is ours or free ---- */

static void next_round(Election *e, Usec after)
{
    uint32_t r;
    random_bytes(&r, sizeof r);
    double part = (double)r / ((double)UINT32_MAX + 1);
    if (!e->leading)
        after = (Usec)((double)after * (1 + JITTER * part));
    timer_arm(e->timer, after);
}

static void on_expiry(void *arg)
{
    lose(arg, "the Lease could not be renewed in time");
}

static void on_written(void *arg, json_t *body, const KubeError *err)
{
    Election *e = arg;
    e->call = NULL;
    if (err) {
        log_debug("lease not written", F_STR("identity", e->identity), F_ERR(&err->err));
        /* Somebody else wrote it, or deleted it: read it before the next try. */
        json_decref(e->lease);
        e->lease = NULL;
        next_round(e, err->status == 409 || err->status == 404 ? 0 : e->o.retry);
        return;
    }
    see(e, body);
    e->valid_until = usec_add(e->asked_at, e->o.deadline);
    next_round(e, e->o.retry);
    if (e->valid_until <= now_of(e)) { /* the answer took too long: it says nothing about now */
        lose(e, "the Lease was renewed too late");
        return;
    }
    timer_arm(e->expiry, e->valid_until - now_of(e));
    lead(e);
}

static void write_lease(Election *e, bool exists)
{
    CLEANUP_JSON json_t *lease = make_lease(e, false);
    e->call = kube_send(e->o.kube,
                        KUBE_REQUEST(.verb = exists ? KUBE_UPDATE : KUBE_CREATE, .kind = KUBE_LEASES,
                                     .ns = e->ns, .name = e->name, .body = lease, .unfenced = true,
                                     .urgent = true, .timeout = e->o.deadline / 2),
                        on_written, e);
}

/* Whoever held it when it was deleted may not have noticed: his time runs on as if it were there. */
static void on_no_lease(Election *e)
{
    if (e->lease && !is_ours(e) && !is_free(e)) {
        next_round(e, e->o.retry);
        return;
    }
    json_decref(e->lease);
    e->lease = NULL;
    write_lease(e, false);
}

static void on_read(void *arg, json_t *body, const KubeError *err)
{
    Election *e = arg;
    e->call = NULL;
    if (err && err->status == 404) {
        on_no_lease(e);
        return;
    }
    if (err) {
        log_debug("lease not read", F_STR("identity", e->identity), F_ERR(&err->err));
        next_round(e, e->o.retry);
        return;
    }
    see(e, body);
    if (is_ours(e) || is_free(e)) {
        write_lease(e, true);
        return;
    }
    lose(e, "another one holds the Lease");
    next_round(e, e->o.retry);
}

static void on_timer(void *arg)
{
    Election *e = arg;
    if (e->call || e->releasing)
        return;
    e->asked_at = now_of(e);
    if (is_ours(e) && e->leading) {
        write_lease(e, true);
        return;
    }
    e->call = kube_send(e->o.kube,
                        KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_LEASES, .ns = e->ns, .name = e->name,
                                     .urgent = true, .timeout = e->o.deadline / 2),
                        on_read, e);
}

/* ---- life ---- */

Election *election_new(const ElectionOptions *o)
{
    Election *e = xnew(Election);
    e->o = *o;
    e->loop = kube_loop(o->kube);
    e->ns = xstrdup(o->ns);
    e->name = xstrdup(o->name);
    e->identity = xstrdup(o->identity);
    e->o.duration = o->duration ? o->duration : DURATION;
    e->o.deadline = o->deadline ? o->deadline : DEADLINE;
    e->o.retry = o->retry ? o->retry : RETRY;
    e->timer = timer_new(e->loop, on_timer, e);
    e->expiry = timer_new(e->loop, on_expiry, e);
    timer_arm(e->timer, 0);
    return e;
}

static void on_released(void *arg, json_t *body, const KubeError *err)
{
    Election *e = arg;
    e->call = NULL;
    e->released(e->released_arg);
}

static void released_without(void *arg)
{
    Election *e = arg;
    e->released(e->released_arg);
}

void election_release(Election *e, LoopFn done, void *arg)
{
    bool held = e->leading && is_ours(e);
    e->releasing = true;
    e->released = done;
    e->released_arg = arg;
    kube_cancel(e->call);
    e->call = NULL;
    lose(e, "released");
    timer_free(e->timer);
    e->timer = timer_new(e->loop, released_without, e);
    if (!held) {
        timer_arm(e->timer, 0);
        return;
    }
    CLEANUP_JSON json_t *lease = make_lease(e, true);
    e->call =
        kube_send(e->o.kube,
                  KUBE_REQUEST(.verb = KUBE_UPDATE, .kind = KUBE_LEASES, .ns = e->ns, .name = e->name,
                               .body = lease, .unfenced = true, .urgent = true, .timeout = 2 * USEC_PER_SEC),
                  on_released, e);
}

static void release_memory(void *arg)
{
    Election *e = arg;
    json_decref(e->lease);
    free(e->seen);
    free(e->ns);
    free(e->name);
    free(e->identity);
    free(e);
}

Election *election_free(Election *e)
{
    if (!e)
        return NULL;
    kube_cancel(e->call);
    e->call = NULL;
    timer_free(e->timer);
    timer_free(e->expiry);
    loop_defer(e->loop, release_memory, e);
    return NULL;
}
