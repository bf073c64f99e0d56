/* SipHash-c-d (https://www.aumasson.jp/siphash/siphash.pdf): a keyed hash that a peer cannot aim. */
#pragma once

#include <stdint.h>
#include "base/str.h"

typedef struct SipKey {
    uint64_t k0, k1;
} SipKey;

uint64_t siphash(unsigned c_rounds, unsigned d_rounds, SipKey key, Str data);
