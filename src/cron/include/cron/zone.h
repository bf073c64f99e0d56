/*
 * Time zones from the system's tzdata: a TZif file (RFC 9636) as a list of spans of one UTC offset each,
 * continued by the POSIX rule in its footer. Nothing of libc's zone state is touched, so several zones are in
 * use at once, on any thread. A Zone does not change once it is made.
 */
#pragma once

#include <stdint.h>
#include "base/err.h"
#include "base/str.h"

typedef struct Zone Zone;

#define ZONE_NAME_MAX 64
#define ZONE_DIR "/usr/share/zoneinfo"

/* `dir` NULL = ZONE_DIR. ERR_INVALID "unknown time zone ..." when the name is none, also while there is no
   tzdata; "UTC" and "" are always known. */
int zone_load(const char *dir, Str name, Zone **ret, Err *err);
/* A file's bytes. ERR_CORRUPT. */
int zone_parse(Str bytes, Zone **ret, Err *err);
Zone *zone_free(Zone *z); /* NULL-safe */
DEFINE_CLEANUP(Zone, zone_free)

/* From `start` until before `end` (seconds since the epoch) the offset is the same. INT64_MIN and INT64_MAX
   stand for no bound. */
typedef struct ZoneSpan {
    int64_t start, end;
    int32_t offset; /* seconds east of UTC */
    int32_t before; /* of the span that ends at start */
} ZoneSpan;
/* The span that holds t. z NULL = UTC. */
void zone_span(const Zone *z, int64_t t, ZoneSpan *ret);
