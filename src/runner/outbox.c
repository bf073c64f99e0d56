#include "outbox.h"

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "journal.h"

#define RETRY_FIRST (200 * USEC_PER_MSEC)
#define RETRY_MAX (5 * USEC_PER_SEC)
#define RETRY_DENIED (30 * USEC_PER_SEC)
#define JOURNAL_LONG ((size_t)16 << 20)

typedef struct Record {
    ListLink link;
    char *type, *payload, *turn, *request_id;
    size_t len; /* of payload */
} Record;

struct Outbox {
    Loop *loop;
    OutboxPush push;
    OutboxOps ops;
    void *arg;
    char *session_id;
    Journal journal;
    List records; /* the first one is being pushed */
    size_t waiting, bytes;
    void *call; /* NULL = none runs */
    Timer *timer;
    unsigned tries;
    unsigned counter; /* of request ids */
    Err trouble;
    bool high, gone;
};

static void record_free(Record *r)
{
    list_remove(&r->link);
    free(r->type);
    free(r->payload);
    free(r->turn);
    free(r->request_id);
    free(r);
}

static Record *first(const Outbox *o)
{
    return list_empty(&o->records) ? NULL : LIST_ENTRY(o->records.next, Record, link);
}

static void set_pressure(Outbox *o)
{
    bool high = o->high ? o->bytes > OUTBOX_HIGH / 2 : o->bytes > OUTBOX_HIGH;

    if (high == o->high)
        return;
    o->high = high;
    o->ops.on_pressure(o->arg, high);
}

static void send_first(void *arg);

static void journal_record(Outbox *o, const Record *r)
{
    journal_add(
        &o->journal,
        &(JournalEntry){str_from(r->type), {r->payload, r->len}, str_from(r->turn), str_from(r->request_id)});
}

/* A queue that never runs empty would let the file grow for ever: it is written anew with what still waits.
 */
static void journal_shorten(Outbox *o)
{
    journal_empty(&o->journal);
    LIST_FOREACH (&o->records, l)
        journal_record(o, LIST_ENTRY(l, Record, link));
}

static void remove_first(Outbox *o)
{
    Record *r = first(o);

    o->waiting--;
    o->bytes -= r->len;
    record_free(r);
    if (o->waiting == 0)
        journal_empty(&o->journal);
    else if (o->journal.bytes > JOURNAL_LONG && o->journal.bytes > 4 * o->bytes)
        journal_shorten(o);
}

static void go_on(Outbox *o)
{
    o->tries = 0;
    o->trouble = (Err){0};
    set_pressure(o);
    if (o->waiting > 0)
        send_first(o);
    else
        o->ops.on_drained(o->arg);
}

/* The server will never take it: pushing it again would block all that follow. */
static bool is_hopeless(ErrCode code)
{
    return code == ERR_INVALID || code == ERR_MALFORMED || code == ERR_BAD_REQUEST || code == ERR_TOO_LARGE ||
           code == ERR_UNIMPLEMENTED;
}

static Usec retry_delay(Outbox *o, ErrCode code)
{
    unsigned n = o->tries++;

    if (code == ERR_FORBIDDEN)
        return RETRY_DENIED;
    return n > 4 ? RETRY_MAX : RETRY_FIRST << n;
}

static void on_failed(Outbox *o, const Err *err)
{
    if (err->code == ERR_NOT_FOUND) {
        o->gone = true;
        o->ops.on_gone(o->arg, err);
        return;
    }
    if (is_hopeless(err->code)) {
        log_error("the server refuses a record, it is dropped", F_STR("type", first(o)->type), F_ERR(err));
        remove_first(o);
        go_on(o);
        return;
    }
    if (o->tries == 0)
        log_warn("pushing a record failed, it is tried again", F_ERR(err));
    o->trouble = *err;
    timer_arm(o->timer, retry_delay(o, err->code));
}

static void on_done(void *arg, uint64_t seq, const Err *err)
{
    Outbox *o = arg;

    o->call = NULL;
    if (err) {
        on_failed(o, err);
        return;
    }
    CLEANUP_FREE char *request_id = xstrdup(first(o)->request_id);
    remove_first(o);
    o->ops.on_acked(o->arg, str_from(request_id), seq);
    go_on(o);
}

static void send_first(void *arg)
{
    Outbox *o = arg;
    const Record *r = first(o);

    if (!r || o->call || o->gone)
        return;
    ClientPush p = {
        .session_id = str_from(o->session_id),
        .event_type = str_from(r->type),
        .payload = {r->payload, r->len},
        .turn = str_from(r->turn),
        .request_id = str_from(r->request_id),
    };
    o->call = o->push.push(o->push.arg, &p, on_done, o);
}

static void queue(Outbox *o, const JournalEntry *e)
{
    Record *r = xnew(Record);

    r->type = str_dup(e->type);
    r->payload = str_dup(e->payload);
    r->turn = str_dup(e->turn);
    r->request_id = str_dup(e->request_id);
    r->len = e->payload.len;
    list_push_back(&o->records, &r->link);
    o->waiting++;
    o->bytes += r->len;
}

static void queue_old(void *arg, const JournalEntry *e)
{
    queue(arg, e);
}

Outbox *outbox_new(Loop *l, const OutboxPush *push, const char *session_id, const char *journal,
                   const OutboxOps *ops, void *arg)
{
    Outbox *o = xnew(Outbox);
    Err err = {0};

    o->loop = l;
    o->push = *push;
    o->ops = *ops;
    o->arg = arg;
    o->session_id = xstrdup(session_id);
    o->journal.fd = -1;
    list_init(&o->records);
    o->timer = timer_new(l, send_first, o);
    if (journal && journal_open(&o->journal, journal, queue_old, o, &err) < 0)
        log_warn("no journal: records that are not pushed yet would be lost with this process", F_ERR(&err));
    if (o->waiting > 0) {
        log_info("records of an earlier runner are pushed first", F_UINT("records", o->waiting));
        timer_arm(o->timer, 0);
    }
    return o;
}

Outbox *outbox_free(Outbox *o)
{
    if (!o)
        return NULL;
    if (o->call)
        o->push.cancel(o->push.arg, o->call);
    timer_free(o->timer);
    while (first(o))
        record_free(first(o));
    journal_close(&o->journal);
    free(o->session_id);
    free(o);
    return NULL;
}

void outbox_add(Outbox *o, const char *event_type, Str payload, const char *turn, const char *prefix)
{
    CLEANUP_FREE char *request_id = xasprintf("%s-%u", prefix, ++o->counter);
    JournalEntry e = {str_from(event_type), payload, str_from(turn), str_from(request_id)};

    if (o->gone)
        return;
    queue(o, &e);
    journal_add(&o->journal, &e);
    set_pressure(o);
    if (!o->call && o->tries == 0)
        send_first(o);
}

size_t outbox_waiting(const Outbox *o)
{
    return o->waiting;
}

size_t outbox_bytes(const Outbox *o)
{
    return o->bytes;
}

const Err *outbox_trouble(const Outbox *o)
{
    return o->trouble.code ? &o->trouble : NULL;
}
