#include "test-internal.h"

int main(void)
{
    int failed = run_address_tests();

    failed += run_token_tests();
    failed += run_rest_tests();
    failed += run_list_tests();
    failed += run_push_tests();
    failed += run_watch_tests();
    return failed ? 1 : 0;
}
