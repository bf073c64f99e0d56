#include "test-internal.h"

int main(void)
{
    int (*const groups[])(void) = {run_authz_tests, run_claims_tests, run_jwk_tests,          run_jwt_tests,
                                   run_auth_tests,  run_keys_tests,   run_session_token_tests};
    int failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        failed += groups[i]();
    test_keys_done();
    return failed != 0;
}
