#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/mem.h"
#include "cron/cron.h"

Cron expression(const char *text); /* fails the test when it does not parse */
Zone *zone(const char *name);
WallUsec at(const char *rfc3339);

int run_next_tests(void);
int run_zone_tests(void);
