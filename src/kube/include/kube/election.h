/*
 * Leader election by a Lease. Candidates compare changes of the Lease by their own monotonic clock only.
 *
 *     STANDBY --Lease free, or not renewed for 15 s--> LEADER --no success for 10 s, or another holder-->
 * STANDBY
 *
 * The holder renews every 2 s. election_valid() is true until 10 s after the last success: ask it before each
 * write (KubeOptions.may_write), so that two never write past the Lease's 15 s.
 */
#pragma once

#include "kube/kube.h"

typedef struct Election Election;

typedef struct ElectionOptions {
    Kube *kube;
    const char *ns, *name;          /* of the Lease */
    const char *identity;           /* "<pod name>_<8 hex>" */
    Usec duration, deadline, retry; /* 0 = 15, 10, 2 s */
    void (*on_lead)(void *arg);
    void (*on_lose)(void *arg); /* not called by election_free() or election_release() */
    void *arg;
} ElectionOptions;

Election *election_new(const ElectionOptions *o); /* texts are copied; starts at once */
/* Gives the Lease up for the next one to take at once, then calls done. No on_lose. */
void election_release(Election *e, LoopFn done, void *arg);
Election *election_free(Election *e); /* NULL-safe; leaves the Lease as it is */
bool election_leading(const Election *e);
bool election_valid(const Election *e);         /* leading, and renewed less than `deadline` ago */
const char *election_holder(const Election *e); /* as last seen; "" = nobody */
