#include "test-internal.h"

int main(void)
{
    int failures = 0;
    failures += run_workqueue_tests();
    return failures == 0 ? 0 : 1;
}
