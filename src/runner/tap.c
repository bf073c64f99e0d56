#include "tap.h"

#include <assert.h>
#include "base/list.h"
#include "base/mem.h"
#include "base/vec.h"

typedef struct TapEvent {
    ListLink link;
    uint64_t id;
    AguiType type;
    unsigned run; /* number of the run it belongs to */
    size_t key;   /* its length; the key stands behind the frame */
    size_t len;
    char frame[]; /* "id: n\ndata: {...}\n\n", then the key */
} TapEvent;

/* A vec of strings. */
typedef struct Keys {
    char **ptr;
    size_t len, cap;
} Keys;

struct Tap {
    Loop *loop;
    List ring; /* ascending id */
    List readers;
    size_t bytes, max;
    uint64_t next_id;
    unsigned run; /* number of the current or last run; 0 = none yet */
    bool running;
    char *run_id;
    Keys orphans; /* keys whose OPEN left the ring while the rest of them did not */
    Timer *heartbeat;
    Usec beat;
};

struct TapReader {
    ListLink link;
    Tap *tap;
    TapSink sink;
    void *arg;
    uint64_t next; /* id of the next event to look at */
    char *run_id;  /* NULL = any */
    unsigned run;  /* with run_id: its number, 0 = it has not begun */
    bool follow, snapshots;
    Keys skip; /* keys it has not seen the beginning of */
    Usec written_at;
    bool gone;
};

static void on_heartbeat(void *arg);

Tap *tap_new(Loop *l, size_t ring_bytes, Usec heartbeat)
{
    Tap *t = xnew(Tap);

    t->loop = l;
    t->max = ring_bytes;
    t->next_id = 1;
    list_init(&t->ring);
    list_init(&t->readers);
    t->heartbeat = timer_new(l, on_heartbeat, t);
    t->beat = heartbeat;
    timer_arm(t->heartbeat, t->beat);
    return t;
}

static Str event_key(const TapEvent *ev)
{
    return (Str){ev->frame + ev->len, ev->key};
}

/* ---- keys ---- */

static ptrdiff_t key_find(const Keys *k, Str key)
{
    for (size_t i = 0; i < k->len; i++)
        if (str_eqz(key, k->ptr[i]))
            return (ptrdiff_t)i;
    return -1;
}

static void key_add(Keys *k, Str key)
{
    vec_push(k, str_dup(key));
}

static void key_drop(Keys *k, size_t i)
{
    free(k->ptr[i]);
    k->len--;
    k->ptr[i] = k->ptr[k->len];
}

static void keys_clear(Keys *k)
{
    while (k->len > 0)
        key_drop(k, k->len - 1);
    vec_free(k);
}

/* ---- readers ---- */

static void reader_destroy(void *arg)
{
    TapReader *r = arg;

    keys_clear(&r->skip);
    free(r->run_id);
    free(r);
}

void tap_detach(TapReader *r)
{
    if (!r || r->gone)
        return;
    r->gone = true;
    list_remove(&r->link);
    loop_defer(r->tap->loop, reader_destroy, r);
}

static void reader_end(TapReader *r)
{
    if (r->gone)
        return;
    tap_detach(r);
    r->sink.end(r->arg);
}

size_t tap_readers(const Tap *t)
{
    size_t n = 0;

    LIST_FOREACH (&t->readers, l)
        n++;
    return n;
}

static bool is_last(AguiType t)
{
    return t == AGUI_RUN_FINISHED || t == AGUI_RUN_ERROR;
}

/* Must the reader be spared this event? Items it has not seen the beginning of are, to their end. */
static bool reader_skips(TapReader *r, const TapEvent *ev)
{
    if (ev->type == AGUI_MESSAGES_SNAPSHOT && !r->snapshots)
        return true;
    ptrdiff_t at = key_find(&r->skip, event_key(ev));
    if (at < 0)
        return false;
    if (agui_part(ev->type) == AGUI_CLOSE)
        key_drop(&r->skip, (size_t)at);
    return agui_part(ev->type) != AGUI_WHOLE;
}

/* Shows one event; false when the reader ended with it. */
static bool reader_show(TapReader *r, const TapEvent *ev)
{
    r->next = ev->id + 1;
    if ((r->run_id && ev->run != r->run) || reader_skips(r, ev))
        return true;
    r->written_at = loop_now(r->tap->loop);
    r->sink.write(r->arg, (Str){ev->frame, ev->len});
    if (r->gone)
        return false;
    if (!is_last(ev->type) || r->follow)
        return true;
    reader_end(r);
    return false;
}

static TapEvent *event_from(const Tap *t, uint64_t id)
{
    /* From the back: readers are nearly always at the end. */
    TapEvent *found = NULL;

    for (ListLink *l = t->ring.prev; l != &t->ring; l = l->prev) {
        TapEvent *ev = LIST_ENTRY(l, TapEvent, link);
        if (ev->id < id)
            break;
        found = ev;
    }
    return found;
}

void tap_resume(TapReader *r)
{
    const Tap *t = r->tap;
    TapEvent *ev;

    while (!r->gone && (ev = event_from(t, r->next)) && r->sink.writable(r->arg)) {
        /* A few at a time between looks at the sink; the ring does not change meanwhile. */
        for (ListLink *l = &ev->link; l != &t->ring; l = l->next)
            if (!reader_show(r, LIST_ENTRY(l, TapEvent, link)) || !r->sink.writable(r->arg))
                return;
    }
}

static uint64_t first_of_run(const Tap *t)
{
    LIST_FOREACH (&t->ring, l) {
        const TapEvent *ev = LIST_ENTRY(l, TapEvent, link);
        if (ev->run == t->run)
            return ev->id;
    }
    return t->next_id;
}

static uint64_t start_id(const Tap *t, const TapOptions *o)
{
    const TapEvent *head = list_empty(&t->ring) ? NULL : LIST_ENTRY(t->ring.next, TapEvent, link);

    if (o->after_id && o->after_id < t->next_id && head && o->after_id + 1 >= head->id)
        return o->after_id + 1;
    return t->running ? first_of_run(t) : t->next_id;
}

TapReader *tap_attach(Tap *t, const TapSink *sink, void *arg, const TapOptions *o)
{
    TapReader *r = xnew(TapReader);
    const TapEvent *head = list_empty(&t->ring) ? NULL : LIST_ENTRY(t->ring.next, TapEvent, link);

    r->tap = t;
    r->sink = *sink;
    r->arg = arg;
    r->next = start_id(t, o);
    r->run_id = o->run_id ? xstrdup(o->run_id) : NULL;
    if (t->running && o->run_id && str_eqz(str_from(t->run_id), o->run_id))
        r->run = t->run;
    r->follow = o->follow;
    r->snapshots = o->snapshots;
    r->written_at = loop_now(t->loop);
    if (head && r->next == head->id)
        for (size_t i = 0; i < t->orphans.len; i++)
            key_add(&r->skip, str_from(t->orphans.ptr[i]));
    list_push_back(&t->readers, &r->link);
    return r;
}

static void on_heartbeat(void *arg)
{
    Tap *t = arg;
    Usec now = loop_now(t->loop);

    timer_arm(t->heartbeat, t->beat);
    LIST_FOREACH_SAFE (&t->readers, l) {
        TapReader *r = LIST_ENTRY(l, TapReader, link);
        if (now - r->written_at < t->beat || !r->sink.writable(r->arg))
            continue;
        r->written_at = now;
        r->sink.write(r->arg, STR(": heartbeat\n\n"));
    }
}

/* ---- ring ---- */

/* Readers from here on will not see the beginning of this item. */
static void orphan(Tap *t, const TapEvent *ev)
{
    ptrdiff_t at = key_find(&t->orphans, event_key(ev));

    if (agui_part(ev->type) == AGUI_OPEN && at < 0)
        key_add(&t->orphans, event_key(ev));
    else if (agui_part(ev->type) == AGUI_CLOSE && at >= 0)
        key_drop(&t->orphans, (size_t)at);
}

static void evict(Tap *t, TapEvent *ev)
{
    orphan(t, ev);
    list_remove(&ev->link);
    t->bytes -= sizeof(*ev) + ev->len + ev->key;
    free(ev);
}

/* Runs before the last one go; then, when the ring is full, the oldest events of what is left except
 * RUN_STARTED. */
static bool make_room(Tap *t)
{
    bool evicted = false;

    LIST_FOREACH_SAFE (&t->ring, l) {
        TapEvent *ev = LIST_ENTRY(l, TapEvent, link);
        bool old = ev->run + 1 < t->run;
        if (!old && t->bytes <= t->max)
            break;
        if (!old && ev->type == AGUI_RUN_STARTED && ev->run == t->run)
            continue;
        evict(t, ev);
        evicted = true;
    }
    return evicted;
}

static TapEvent *event_new(Tap *t, const AguiEvent *ev)
{
    char head[48];
    int n = snprintf(head, sizeof(head), "id: %llu\ndata: ", (unsigned long long)t->next_id);
    size_t len = (size_t)n + ev->json.len + 2;
    TapEvent *out = try_malloc(sizeof(*out) + len + ev->key.len);

    if (!out)
        return NULL;
    *out = (TapEvent){.id = t->next_id++, .type = ev->type, .run = t->run, .key = ev->key.len, .len = len};
    memcpy(out->frame, head, (size_t)n);
    memcpy(out->frame + n, ev->json.ptr, ev->json.len);
    memcpy(out->frame + len - 2, "\n\n", 2);
    if (ev->key.len > 0)
        memcpy(out->frame + len, ev->key.ptr, ev->key.len);
    return out;
}

/* Readers whose next event is no longer there would miss something: they end. */
static void end_laggards(Tap *t)
{
    uint64_t oldest = t->next_id;

    LIST_FOREACH (&t->ring, l) {
        const TapEvent *ev = LIST_ENTRY(l, TapEvent, link);
        if (ev->type == AGUI_RUN_STARTED && ev->link.next != &t->ring &&
            LIST_ENTRY(ev->link.next, TapEvent, link)->id != ev->id + 1)
            continue; /* kept although what follows it is gone */
        oldest = ev->id;
        break;
    }
    LIST_FOREACH_SAFE (&t->readers, l) {
        TapReader *r = LIST_ENTRY(l, TapReader, link);
        if (r->next < oldest)
            reader_end(r);
    }
}

static void begin_run(Tap *t, const char *run_id)
{
    t->run++;
    t->running = true;
    free(t->run_id);
    t->run_id = xstrdup(run_id);
    keys_clear(&t->orphans);
    LIST_FOREACH (&t->readers, l) {
        TapReader *r = LIST_ENTRY(l, TapReader, link);
        if (r->run_id && r->run == 0 && str_eqz(str_from(r->run_id), run_id))
            r->run = t->run;
    }
}

void tap_event(Tap *t, const AguiEvent *ev, const char *run_id)
{
    if (ev->type == AGUI_RUN_STARTED)
        begin_run(t, run_id);
    TapEvent *e = event_new(t, ev);
    if (!e)
        return;
    list_push_back(&t->ring, &e->link);
    t->bytes += sizeof(*e) + e->len + e->key;
    if (is_last(ev->type))
        t->running = false;
    LIST_FOREACH_SAFE (&t->readers, l)
        tap_resume(LIST_ENTRY(l, TapReader, link));
    if (make_room(t))
        end_laggards(t);
}

bool tap_running(const Tap *t)
{
    return t->running;
}

Tap *tap_free(Tap *t)
{
    if (!t)
        return NULL;
    LIST_FOREACH_SAFE (&t->readers, l)
        reader_end(LIST_ENTRY(l, TapReader, link));
    LIST_FOREACH_SAFE (&t->ring, l)
        free(LIST_ENTRY(l, TapEvent, link));
    keys_clear(&t->orphans);
    timer_free(t->heartbeat);
    free(t->run_id);
    free(t);
    return NULL;
}
