#include "housekeeping.h"

#include "base/log.h"
#include "base/mem.h"

#define DAYS(n) ((int64_t)(n)*24 * 3600 * (int64_t)USEC_PER_SEC)
#define EVENTS_KEPT DAYS(7)
#define RUNS_KEPT DAYS(90)   /* the history of schedules */
#define AUDIT_KEPT DAYS(400) /* who read a token: a year, and time to look at it */
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
    uint64_t events = 0, runs = 0, audit = 0;
    WallUsec now = tx_now(tx);
    int rc = tx_events_purge(tx, (WallUsec){now.us - EVENTS_KEPT}, &events, err);
    if (rc == 0)
        rc = tx_purge(tx, &kind_schedule_run, (WallUsec){now.us - RUNS_KEPT}, &runs, err);
    if (rc == 0)
        rc = tx_purge(tx, &kind_audit_event, (WallUsec){now.us - AUDIT_KEPT}, &audit, err);
    h->removed = events + runs + audit;
    return rc;
}

static void purged(void *arg, int rc, const Err *err)
{
    Housekeeping *h = arg;
    if (rc < 0)
        log_warn("old rows were not removed", F_ERR(err));
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
