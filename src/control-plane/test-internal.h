/* What every test file of this room needs. Each exports one function that runs its group: 0, or failures. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/str.h"

int run_cache_tests(void);
int run_kube_parts_tests(void);
int run_kube_flow_tests(void);
int run_kube_sidecars_tests(void);
int run_token_ring_tests(void);
int run_token_review_tests(void);
int run_credentials_tests(void);
int run_session_tokens_tests(void);
int run_parts_tests(void);
int run_process_tests(void);
int run_session_tests(void);
int run_session_strays_tests(void);
int run_session_fuzz_tests(void);
int run_system_tests(void);
int run_outage_tests(void);
int run_informer_tests(void);
int run_workqueue_tests(void);

/* A fixed sequence: a failure is the same on every run. */
static inline uint32_t test_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}
