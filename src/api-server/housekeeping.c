#include "housekeeping.h"

#include "base/log.h"
#include "base/mem.h"

#define EVENTS_KEPT ((int64_t)7 * 24 * 3600 * (int64_t)USEC_PER_SEC)
#define PAUSE_IDLE (600 * USEC_PER_SEC)
#define PAUSE_BUSY (1 * USEC_PER_SEC) /* the last round removed something: there may be more */

struct Housekeeping {
    Store *store;
    Timer *timer;
    bool stopped;
    uint64_t removed;
};

static int purge(Tx *tx, void *arg, Err *err)
{
    Housekeeping *h = arg;
    WallUsec before = {tx_now(tx).us - EVENTS_KEPT};
    return tx_events_purge(tx, before, &h->removed, err);
}

static void purged(void *arg, int rc, const Err *err)
{
    Housekeeping *h = arg;
    if (rc < 0)
        log_warn("old events were not removed", F_ERR(err));
    if (!h->stopped)
        timer_arm(h->timer, rc == 0 && h->removed ? PAUSE_BUSY : PAUSE_IDLE);
}

static void due(void *arg)
{
    Housekeeping *h = arg;
    h->removed = 0;
    if (store_submit(h->store, STORE_WRITE, purge, purged, h, NULL) < 0)
        timer_arm(h->timer, PAUSE_IDLE);
}

Housekeeping *housekeeping_new(Loop *l, Store *store)
{
    Housekeeping *h = xnew(Housekeeping);
    h->store = store;
    h->timer = timer_new(l, due, h);
    timer_arm(h->timer, PAUSE_IDLE);
    return h;
}

void housekeeping_stop(Housekeeping *h)
{
    if (!h)
        return;
    h->stopped = true;
    timer_cancel(h->timer);
}

Housekeeping *housekeeping_free(Housekeeping *h)
{
    if (!h)
        return NULL;
    timer_free(h->timer);
    free(h);
    return NULL;
}
