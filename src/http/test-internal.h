/* Shared by the unit tests of this room. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>
#include "loop/loop.h"

/* Turns the loop until the condition holds. A test that waits for ever is ended by the alarm. */
#define PUMP_UNTIL(l, cond)                                                                                  \
    do {                                                                                                     \
        alarm(30);                                                                                           \
        while (!(cond))                                                                                      \
            loop_run_once((l), true);                                                                        \
        alarm(0);                                                                                            \
    } while (0)

static inline Loop *test_loop(void)
{
    Loop *l = NULL;
    Err err = {0};
    if (loop_new(&l, &err) < 0)
        fail_msg("loop_new: %s", err.msg);
    return l;
}

int test_url_group(void);
int test_sse_group(void);
int test_client_group(void);
int test_parser_group(void);
int test_server_group(void);
int test_brief_group(void);
