/* What parsing and searching share: does a date fit? */
#pragma once

#include "cron/cron.h"

#define CALENDAR_DAYS 146097 /* 400 years; then weekdays and leap years come again */

bool cron_has_day(const Cron *c, int64_t days); /* since 1970-01-01 */
