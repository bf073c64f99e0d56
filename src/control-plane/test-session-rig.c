#include "test-session-rig.h"

#include "base/mem.h"
#include "json/json.h"

typedef struct Event {
    ListLink link;
    Obj *o; /* NULL = deleted */
    char id[32];
} Event;

static void rig_event(void *arg, const char *id, const Obj *o)
{
    Rig *r = arg;
    if (r->deaf)
        return;
    Event *e = xnew(Event);
    snprintf(e->id, sizeof(e->id), "%s", id);
    e->o = o ? obj_dup(o) : NULL;
    list_push_back(&r->events, &e->link);
}

static void rig_change(void *arg, const char *id)
{
    Rig *r = arg;
    if (r->s)
        sessions_add(r->s, id);
}

static void rig_relist(void *arg)
{
    ((Rig *)arg)->relists++;
}

static void start_control_plane(Rig *r)
{
    static const int drop[] = {SESSION_PROMPT, -1};
    const CacheOptions co = {.kind = &kind_session, .clock = &r->f.clock.clock, .drop = drop};
    r->cache = cache_new(&co);
    const SessionsOptions o = {
        .api = &r->f.api,
        .runtime = &r->f.runtime,
        .cache = r->cache,
        .clock = &r->f.clock.clock,
        .place = "local",
        .relist = rig_relist,
        .arg = r,
    };
    r->s = sessions_new(&o);
}

static void drop_events(Rig *r)
{
    for (ListLink *l; (l = list_pop_front(&r->events));) {
        obj_free(LIST_ENTRY(l, Event, link)->o);
        free(LIST_ENTRY(l, Event, link));
    }
}

static void stop_control_plane(Rig *r)
{
    r->s = sessions_free(r->s);
    r->cache = cache_free(r->cache);
    drop_events(r);
}

void rig_init(Rig *r)
{
    *r = (Rig){0};
    fake_init(&r->f);
    list_init(&r->events);
    r->f.on_event = rig_event;
    r->f.on_event_arg = r;
    r->f.runtime.on_change = rig_change;
    r->f.runtime.on_change_arg = r;
    start_control_plane(r);
}

void rig_done(Rig *r)
{
    stop_control_plane(r);
    fake_done(&r->f);
}

bool deliver(Rig *r)
{
    ListLink *l = list_pop_front(&r->events);
    if (!l)
        return false;
    Event *e = LIST_ENTRY(l, Event, link);
    if (e->o)
        cache_put(r->cache, TAKE(e->o));
    else
        cache_delete(r->cache, str_from(e->id));
    sessions_add(r->s, e->id);
    free(e);
    return true;
}

static void relist_missing(void *arg, const char *id)
{
    sessions_add(((Rig *)arg)->s, id);
}

void relist(Rig *r)
{
    r->relists = 0;
    cache_list_begin(r->cache);
    MAP_FOREACH (r->f.sessions, it) {
        cache_put(r->cache, obj_dup(it.value));
        sessions_add(r->s, it.key.ptr);
    }
    cache_list_end(r->cache, true, relist_missing, r);
    sessions_listed(r->s);
}

bool queue_due(Rig *r)
{
    return wq_next(sessions_queue(r->s)) <= clock_now(&r->f.clock.clock);
}

void settle(Rig *r)
{
    for (int n = 0; n < 10000; n++) {
        if (queue_due(r))
            wq_turn(sessions_queue(r->s));
        else if (!deliver(r) && !fake_step(&r->f)) {
            if (r->relists == 0)
                return;
            relist(r);
        }
    }
    fail_msg("does not settle");
}

void pass_time(Rig *r, Usec by)
{
    Usec end = clock_now(&r->f.clock.clock) + by;
    for (;;) {
        settle(r);
        Usec next = wq_next(sessions_queue(r->s));
        if (next > end)
            break;
        fake_clock_advance(&r->f.clock, next - clock_now(&r->f.clock.clock));
    }
    fake_clock_advance(&r->f.clock, end - clock_now(&r->f.clock.clock));
}

void assert_phase(Rig *r, const char *id, Phase want)
{
    assert_string_equal(phase_name(fake_phase(&r->f, id)), phase_name(want));
}

void restart_control_plane(Rig *r)
{
    stop_control_plane(r);
    fake_crash(&r->f);
    while (fake_step(&r->f))
        ; /* what was asked for and was not lost arrives late */
    drop_events(r);
    start_control_plane(r);
    relist(r);
}

void assert_condition(Rig *r, const char *id, const char *type, const char *status, const char *reason)
{
    CLEANUP_JSON json_t *j = NULL;
    Err err = {0};
    assert_int_equal(json_parse(obj_str(fake_session(&r->f, id), SESSION_CONDITIONS), &j, &err), 0);
    for (size_t i = 0; i < json_array_size(j); i++) {
        const json_t *c = json_array_get(j, i);
        if (strcmp(json_get_str(c, "type"), type) != 0)
            continue;
        assert_string_equal(json_get_str(c, "status"), status);
        assert_string_equal(json_get_str(c, "reason"), reason);
        assert_non_null(json_get_str(c, "lastTransitionTime"));
        return;
    }
    fail_msg("no condition %s", type);
}

void make_running(Rig *r, const char *id)
{
    fake_create(&r->f, id, PHASE_PENDING);
    settle(r);
    fake_ready(&r->f, id);
    settle(r);
    assert_phase(r, id, PHASE_RUNNING);
}
