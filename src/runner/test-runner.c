#include "test-internal.h"

int main(void)
{
    int failed = run_text_tests();

    failed += run_run_input_tests();
    failed += run_scan_tests();
    failed += run_emitter_tests();
    failed += run_claude_tests();
    failed += run_tap_tests();
    failed += run_outbox_tests();
    failed += run_config_tests();
    failed += run_proc_tests();
    failed += run_workspace_tests();
    failed += run_git_tests();
    failed += run_provider_tests();
    return failed ? 1 : 0;
}
