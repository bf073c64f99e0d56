#include "test-internal.h"

#include <string.h>
#include "base/log.h"
#include "shim.h"

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "shim") == 0)
        return shim_main(argc, argv); /* the process tests start us */
    log_setup("test", LOG_OFF, false);
    int failures = 0;
    failures += run_workqueue_tests();
    failures += run_cache_tests();
    failures += run_credentials_tests();
    failures += run_session_tokens_tests();
    failures += run_parts_tests();
    failures += run_kube_parts_tests();
    failures += run_kube_flow_tests();
    failures += run_kube_sidecars_tests();
    failures += run_token_ring_tests();
    failures += run_token_review_tests();
    failures += run_session_tests();
    failures += run_session_strays_tests();
    failures += run_session_fuzz_tests();
    failures += run_process_tests();
    failures += run_system_tests() + run_outage_tests();
    failures += run_informer_tests();
    return failures == 0 ? 0 : 1;
}
