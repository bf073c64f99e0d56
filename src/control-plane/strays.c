#include "strays.h"

#include <assert.h>
#include "base/map.h"
#include "base/mem.h"

typedef struct Stray {
    bool in_round;  /* shown by the round that goes on, or by the last one */
    bool approved;  /* not held by the brake (any more) */
    bool said_gone; /* the server has said so once */
    Usec gone_at;
    unsigned gone_lists;
} Stray;

struct Strays {
    const Clock *clock;
    Usec young, confirm;
    Map *all; /* id -> Stray, owned */
    bool in_round;
    size_t round_new;  /* ids of this round that were not in the last one */
    unsigned agreeing; /* rounds in a row with the same unapproved ids */
    bool braked;
};

Strays *strays_new(const Clock *clock, Usec young, Usec confirm)
{
    Strays *s = xnew(Strays);
    s->young = young ? young : STRAYS_YOUNG;
    s->confirm = confirm ? confirm : STRAYS_CONFIRM;
    s->clock = clock;
    s->all = map_new();
    return s;
}

Strays *strays_free(Strays *s)
{
    if (!s)
        return NULL;
    MAP_FOREACH (s->all, it)
        free(it.value);
    map_free(s->all);
    free(s);
    return NULL;
}

void strays_round_begin(Strays *s)
{
    assert(!s->in_round);
    s->in_round = true;
    s->round_new = 0;
    MAP_FOREACH (s->all, it)
        ((Stray *)it.value)->in_round = false;
}

void strays_round_add(Strays *s, Str id, WallUsec made_at)
{
    assert(s->in_round);
    if (clock_wall(s->clock).us - made_at.us < (int64_t)s->young)
        return;
    Stray *st = map_get(s->all, id);
    if (!st) {
        st = xnew(Stray);
        map_put(s->all, id, st);
        s->round_new++;
    }
    st->in_round = true;
}

/* Forgets what this round did not show. Returns how many held ones were among them. */
static size_t drop_absent(Strays *s)
{
    size_t dropped = 0;
    MAP_FOREACH (s->all, it) {
        Stray *st = it.value;
        if (st->in_round)
            continue;
        dropped += !st->approved;
        map_remove(s->all, it.key);
        free(st);
    }
    return dropped;
}

static size_t count_held(const Strays *s)
{
    size_t n = 0;
    MAP_FOREACH (s->all, it)
        n += !((Stray *)it.value)->approved;
    return n;
}

static size_t brake_limit(size_t existing)
{
    size_t share = existing * STRAYS_BRAKE_PERCENT / 100;
    return share > STRAYS_BRAKE_MIN ? share : STRAYS_BRAKE_MIN;
}

bool strays_round_end(Strays *s, size_t existing)
{
    assert(s->in_round);
    s->in_round = false;
    bool same = drop_absent(s) == 0 && s->round_new == 0;
    s->agreeing = same ? s->agreeing + 1 : 1;
    s->braked = count_held(s) > brake_limit(existing) && s->agreeing < STRAYS_BRAKE_ROUNDS;
    if (s->braked)
        return false;
    MAP_FOREACH (s->all, it)
        ((Stray *)it.value)->approved = true;
    return true;
}

void strays_each(const Strays *s, void (*each)(void *arg, const char *id), void *arg)
{
    MAP_FOREACH (s->all, it)
        each(arg, it.key.ptr);
}

StrayVerdict strays_gone(Strays *s, Str id, unsigned lists, Usec *ret_wait)
{
    Stray *st = map_get(s->all, id);
    if (!st || !st->approved)
        return STRAY_KEEP;
    Usec now = clock_now(s->clock);
    if (!st->said_gone) {
        st->said_gone = true;
        st->gone_at = now;
        st->gone_lists = lists;
    }
    if (now - st->gone_at < s->confirm) {
        *ret_wait = st->gone_at + s->confirm - now;
        return STRAY_WAIT;
    }
    return lists > st->gone_lists ? STRAY_REMOVE : STRAY_RELIST;
}

void strays_forget(Strays *s, Str id)
{
    free(map_remove(s->all, id));
}

bool strays_braked(const Strays *s)
{
    return s->braked;
}

size_t strays_count(const Strays *s)
{
    return map_len(s->all);
}
