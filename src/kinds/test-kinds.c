#include "test-internal.h"

int main(void)
{
    int (*const groups[])(void) = {
        run_table_tests, run_obj_tests,    run_from_json_tests, run_to_json_tests,        run_pb_tests,
        run_phase_tests, run_search_tests, run_order_tests,     run_label_selector_tests, run_schedule_tests,
    };
    int failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        failed += groups[i]();
    return failed != 0;
}
