#include "test-internal.h"

int main(void)
{
    return run_config_tests() + run_parts_tests() + run_client_tests() + run_limits_tests() +
           run_watch_tests() + run_election_tests();
}
