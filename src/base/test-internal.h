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

int run_buf_tests(void);
int run_clock_tests(void);
int run_err_tests(void);
int run_fault_tests(void);
int run_file_tests(void);
int run_flag_tests(void);
int run_heap_tests(void);
int run_ksuid_tests(void);
int run_list_tests(void);
int run_log_tests(void);
int run_map_tests(void);
int run_mem_tests(void);
int run_secret_tests(void);
int run_str_tests(void);

#define assert_str_equal(str, text)                                                                          \
    do {                                                                                                     \
        Str got_ = (str);                                                                                    \
        if (!str_eqz(got_, (text)))                                                                          \
            fail_msg("got \"" STR_FMT "\", want \"%s\"", STR_ARG(got_), (text));                             \
    } while (0)

/* A fixed sequence: a failure is the same on every run. */
static inline uint32_t test_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

/* A new directory below /tmp; the test removes it. */
static inline char *test_dir(char *path_template)
{
    char *path = mkdtemp(path_template);
    assert_non_null(path);
    return path;
}
