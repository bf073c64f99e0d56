/* What the store would otherwise collect for ever: rows of the events log that no watcher can ask for any
 * more. */
#pragma once

#include "store/store.h"

typedef struct Housekeeping Housekeeping;
Housekeeping *housekeeping_new(Loop *l, Store *store);
void housekeeping_stop(Housekeeping *h);          /* submits nothing more; NULL-safe */
Housekeeping *housekeeping_free(Housekeeping *h); /* after the store was closed; NULL-safe */
