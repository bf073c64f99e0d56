/*
 * KSUID: 4 bytes of seconds since 1400000000 (big endian) and 16 random bytes, base62, 27 characters,
 * sortable by second. https://github.com/segmentio/ksuid
 */
#pragma once

#include <stdbool.h>
#include "base/clock.h"
#include "base/str.h"

#define KSUID_LEN 27

void ksuid_new(char out[static KSUID_LEN + 1], WallUsec now); /* random bytes from getrandom(2) */
bool ksuid_is_valid(Str s);
