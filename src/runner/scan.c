#include "scan.h"

#include "base/mem.h"
#include "json/json.h"

void scan_init(Scan *s)
{
    *s = (Scan){0};
    list_init(&s->entries);
}

void scan_entry_free(ScanEntry *e)
{
    if (!e)
        return;
    list_remove(&e->link);
    free(e->payload);
    free(e);
}

void scan_done(Scan *s)
{
    ScanEntry *e;

    while ((e = scan_pop(s)))
        scan_entry_free(e);
    free(s->first_user);
    *s = (Scan){0};
}

ScanEntry *scan_pop(Scan *s)
{
    ListLink *l = list_pop_front(&s->entries);
    ScanEntry *e = l ? LIST_ENTRY(l, ScanEntry, link) : NULL;

    if (e && e == s->active)
        s->active = NULL;
    return e;
}

static void on_user(Scan *s, uint64_t seq, Str payload)
{
    if (str_trim(payload).len == 0)
        return; /* no runner makes a turn of it */
    ScanEntry *e = xnew(ScanEntry);
    e->seq = seq;
    e->payload = str_dup(payload);
    list_push_back(&s->entries, &e->link);
    s->users++;
    if (!s->first_user)
        s->first_user = str_dup(payload);
}

static ScanEntry *oldest(Scan *s)
{
    return list_empty(&s->entries) ? NULL : LIST_ENTRY(s->entries.next, ScanEntry, link);
}

/* The entry a record is about: by its "seq", or without one the oldest. A seq that is not there (0: a turn
   that no message began, or one that ended before) gives NULL. */
static ScanEntry *subject(Scan *s, const json_t *record)
{
    const json_t *seq = json_object_get(record, "seq");

    if (!json_is_integer(seq))
        return oldest(s);
    LIST_FOREACH (&s->entries, l) {
        ScanEntry *e = LIST_ENTRY(l, ScanEntry, link);
        if (e->seq == (uint64_t)json_integer_value(seq))
            return e;
    }
    return NULL;
}

static void on_started(Scan *s, const json_t *record)
{
    s->active = subject(s, record);
    s->runs++;
    if (s->active)
        s->active->starts++;
}

static void on_ended(Scan *s, const json_t *record, bool needs_start)
{
    bool exact = json_is_integer(json_object_get(record, "seq"));
    ScanEntry *e = exact ? subject(s, record) : s->active;

    if (!e && !exact && !needs_start)
        e = oldest(s);
    s->active = NULL;
    if (!e)
        return;
    s->ended++;
    scan_entry_free(e);
}

static void on_lifecycle(Scan *s, const json_t *record)
{
    const char *event = json_get_str(record, "event");

    if (!event)
        return;
    if (str_eqz(STR("run_started"), event))
        on_started(s, record);
    else if (str_eqz(STR("run_finished"), event) || str_eqz(STR("run_interrupted"), event) ||
             str_eqz(STR("run_cancelled"), event))
        on_ended(s, record, true);
}

void scan_message(Scan *s, uint64_t seq, Str event_type, Str payload)
{
    CLEANUP_JSON json_t *record = NULL;

    if (str_eqz(event_type, "user")) {
        on_user(s, seq, payload);
    } else if (str_eqz(event_type, "tool_use")) {
        if (s->active)
            s->active->tool_used = true;
    } else if (str_eqz(event_type, "lifecycle")) {
        if (json_parse(payload, &record, NULL) == 0)
            on_lifecycle(s, record);
    } else if (str_eqz(event_type, "error")) {
        if (json_parse(payload, &record, NULL) < 0)
            record = NULL; /* listener failures are plain text */
        on_ended(s, record, false);
    }
}

void scan_finish(Scan *s, uint64_t handled, uint64_t skip)
{
    LIST_FOREACH_SAFE (&s->entries, l) {
        ScanEntry *e = LIST_ENTRY(l, ScanEntry, link);
        if (e->seq <= handled && e->starts == 0)
            e->starts = 1;
        if (e->seq > skip)
            continue;
        if (s->active == e)
            s->active = NULL;
        scan_entry_free(e);
    }
}
