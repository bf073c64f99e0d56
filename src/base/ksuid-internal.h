/* The bytes of a KSUID as its text; apart from the time and the kernel's randomness, so that tests give the
 * bytes. */
#pragma once

#include "base/ksuid.h"

#define KSUID_RAW_LEN 20

void ksuid_encode(char out[static KSUID_LEN + 1], const uint8_t raw[static KSUID_RAW_LEN]);
