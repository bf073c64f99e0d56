#include "test-internal.h"

/* The sanitizers would end the program where malloc returns NULL, which some tests are about. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

int main(void)
{
    int (*const groups[])(void) = {
        run_buf_tests,  run_clock_tests, run_err_tests,    run_fault_tests, run_file_tests,
        run_flag_tests, run_heap_tests,  run_ksuid_tests,  run_list_tests,  run_log_tests,
        run_map_tests,  run_mem_tests,   run_secret_tests, run_str_tests,
    };
    int failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        failed += groups[i]();
    return failed != 0;
}
