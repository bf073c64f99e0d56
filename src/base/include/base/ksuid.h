/*
 * KSUID: 4 bytes of seconds since 1400000000 (big endian) and 16 random bytes, base62, 27 characters,
 * sortable by second. https://github.com/segmentio/ksuid
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "base/clock.h"
#include "base/str.h"

#define KSUID_LEN 27
#define KSUID_RANDOM_LEN 16

void ksuid_new(char out[static KSUID_LEN + 1], WallUsec now); /* random bytes from getrandom(2) */
/* From random bytes of the caller's, which must not be used twice: for who asks the kernel for many at once.
 */
void ksuid_make(char out[static KSUID_LEN + 1], WallUsec now, const uint8_t random[static KSUID_RANDOM_LEN]);
bool ksuid_is_valid(Str s);
