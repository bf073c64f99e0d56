#include "test-internal.h"

int main(void)
{
    int failed = test_loop_group();
    failed += test_pool_group();
    failed += test_child_group();
    failed += test_conn_group();
    failed += test_tls_group();
    return failed ? 1 : 0;
}
