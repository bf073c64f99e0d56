#include "base/ksuid.h"

#include <endian.h>
#include "base/random.h"
#include "ksuid-internal.h"

#define EPOCH 1400000000
#define WORDS 5 /* 160 bits, most significant word first */

static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
static const Str greatest = STR("aWgEPTl1tmebfsQzFP4bxwgy80V"); /* 2^160 - 1 in base 62 */

/* Divides by 62 in place and returns the remainder. */
static uint32_t divide(uint32_t words[static WORDS])
{
    uint64_t rest = 0;
    for (int i = 0; i < WORDS; i++) {
        uint64_t v = rest << 32 | words[i];
        words[i] = (uint32_t)(v / 62);
        rest = v % 62;
    }
    return (uint32_t)rest;
}

static uint32_t seconds_since_epoch(WallUsec now)
{
    int64_t sec = now.us / (int64_t)USEC_PER_SEC - EPOCH;
    if (sec < 0)
        return 0;
    return sec > UINT32_MAX ? UINT32_MAX : (uint32_t)sec;
}

void ksuid_encode(char out[static KSUID_LEN + 1], const uint8_t raw[static KSUID_RAW_LEN])
{
    uint32_t words[WORDS];
    memcpy(words, raw, sizeof(words));
    for (int i = 0; i < WORDS; i++)
        words[i] = be32toh(words[i]);
    for (int i = KSUID_LEN - 1; i >= 0; i--)
        out[i] = alphabet[divide(words)];
    out[KSUID_LEN] = '\0';
}

void ksuid_new(char out[static KSUID_LEN + 1], WallUsec now)
{
    uint8_t raw[KSUID_RAW_LEN];
    uint32_t seconds = htobe32(seconds_since_epoch(now));
    memcpy(raw, &seconds, sizeof(seconds));
    random_bytes(raw + sizeof(seconds), sizeof(raw) - sizeof(seconds));
    ksuid_encode(out, raw);
}

bool ksuid_is_valid(Str s)
{
    if (s.len != KSUID_LEN)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (str_find_byte((Str){alphabet, 62}, s.ptr[i]) < 0)
            return false;
    return str_cmp(s, greatest) <= 0; /* the alphabet is in ASCII order, so text order is numeric order */
}
