/* What every test file of this room needs. Each exports one function that runs its group: 0, or failures. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/str.h"

int run_workqueue_tests(void);
