/* Inside of the zones: the table of a file and the rule that continues it. */
#pragma once

#include "cron/zone.h"

/* When a year's clock is moved: Jn, n or Mm.w.d of a POSIX TZ text, and a local time of that day. */
typedef struct ZoneRuleDay {
    char form; /* 'J' day 1..365 without leap days, 'N' day 0..365, 'M' */
    int month, week, weekday, day;
    int32_t time; /* seconds; may be negative or beyond a day */
} ZoneRuleDay;

typedef struct ZoneRule {
    bool known; /* a footer was there */
    bool has_dst;
    int32_t std, dst; /* seconds east of UTC */
    ZoneRuleDay start, end;
} ZoneRule;

/* ERR_CORRUPT */
int zone_rule_parse(Str text, ZoneRule *ret, Err *err);
/* The span that holds t, if only the rule counted. */
void zone_rule_span(const ZoneRule *r, int64_t t, ZoneSpan *ret);

struct Zone {
    size_t n; /* transitions */
    int64_t *at;
    int32_t *offsets; /* behind at[i] */
    int32_t first;    /* before at[0] */
    ZoneRule rule;
};

#define ZONE_OFFSET_MAX (26 * 3600)
