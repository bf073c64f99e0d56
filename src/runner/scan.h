/*
 * Where to go on: reads the session's log in order and keeps the user messages that no turn has ended. Our
 * own turns name the message they are about (member "seq" of lifecycle and error records), so they are
 * matched exactly; turns of other runners are matched in order, as every runner works strictly one message
 * after the other.
 *
 * Terminal records: lifecycle run_finished, run_interrupted, run_cancelled, and error.
 */
#pragma once

#include "base/list.h"
#include "base/str.h"

typedef struct ScanEntry {
    ListLink link;
    uint64_t seq;
    char *payload;
    unsigned starts; /* turns that began for it, none of which ended */
    bool tool_used;  /* in one of them: running it again may do things twice */
} ScanEntry;

typedef struct Scan {
    List entries;      /* ascending seq */
    ScanEntry *active; /* the turn that the log is in */
    uint64_t users;    /* user messages seen */
    uint64_t runs;     /* turns that began */
    uint64_t ended;    /* of which a turn ended */
    char *first_user;  /* payload of the first one; NULL = none yet */
} Scan;

void scan_init(Scan *s);
void scan_done(Scan *s);
void scan_message(Scan *s, uint64_t seq, Str event_type, Str payload);
/* The log is known up to now. Messages up to `handled` were begun by an earlier process whatever the log
   says; messages up to `skip` are not ours to run. */
void scan_finish(Scan *s, uint64_t handled, uint64_t skip);
ScanEntry *scan_pop(Scan *s);       /* the next one to look at, or NULL */
void scan_entry_free(ScanEntry *e); /* NULL-safe */
