/* Dates of the proleptic Gregorian calendar, and days since 1970-01-01. Pure arithmetic: no zone, no state.
 */
#pragma once

#include <stdint.h>

typedef struct Civil {
    int64_t year;
    int month, day; /* from 1 */
} Civil;

int64_t days_from_civil(Civil c);
Civil civil_from_days(int64_t days);
int month_length(int64_t year, int month);
int weekday_of_days(int64_t days); /* 0 = Sunday */
