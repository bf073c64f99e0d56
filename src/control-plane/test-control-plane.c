#include "test-internal.h"

#include "base/log.h"

int main(void)
{
    log_setup("test", LOG_OFF, false);
    int failures = 0;
    failures += run_workqueue_tests();
    failures += run_cache_tests();
    failures += run_parts_tests();
    failures += run_session_tests();
    return failures == 0 ? 0 : 1;
}
