/* What every test file of this room needs. Each exports one function that runs its group: 0, or failures. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <cmocka.h>
#include "base/cleanup.h"
#include "kinds/obj.h"
#include "kinds/search.h"

int run_schedule_tests(void);
int run_table_tests(void);
int run_obj_tests(void);
int run_from_json_tests(void);
int run_to_json_tests(void);
int run_pb_tests(void);
int run_phase_tests(void);
int run_search_tests(void);
int run_order_tests(void);
int run_label_selector_tests(void);
