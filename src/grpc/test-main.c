#include "test-internal.h"

int main(void)
{
    int (*const groups[])(void) = {
        run_text_tests,  run_message_tests, run_meter_tests, run_server_tests,
        run_flood_tests, run_client_tests,  run_loop_tests,
    };
    int failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        failed += groups[i]();
    return failed != 0;
}
