#include "base/ksuid.h"

#include <endian.h>
#include "base/random.h"
#include "ksuid-internal.h"

#define EPOCH 1400000000
#define WORDS 5 /* 160 bits, most significant word first */

static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
static const Str greatest = STR("aWgEPTl1tmebfsQzFP4bxwgy80V"); /* 2^160 - 1 in base 62 */

/* Five digits at once: 62^5 is the greatest power that fits into a word. */
#define DIGITS 5
#define DIGITS_BASE 916132832u

/* Divides in place and returns the remainder. */
static uint32_t divide(uint32_t words[static WORDS])
{
    uint64_t rest = 0;
    for (int i = 0; i < WORDS; i++) {
        uint64_t v = rest << 32 | words[i];
        words[i] = (uint32_t)(v / DIGITS_BASE);
        rest = v % DIGITS_BASE;
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
    uint32_t rest = 0;
    for (int i = 0; i < KSUID_LEN; i++) {
        if (i % DIGITS == 0)
            rest = divide(words);
        out[KSUID_LEN - 1 - i] = alphabet[rest % 62];
        rest /= 62;
    }
    out[KSUID_LEN] = '\0';
}

void ksuid_make(char out[static KSUID_LEN + 1], WallUsec now, const uint8_t random[static KSUID_RANDOM_LEN])
{
    uint8_t raw[KSUID_RAW_LEN];
    uint32_t seconds = htobe32(seconds_since_epoch(now));
    memcpy(raw, &seconds, sizeof(seconds));
    memcpy(raw + sizeof(seconds), random, KSUID_RANDOM_LEN);
    ksuid_encode(out, raw);
}

void ksuid_new(char out[static KSUID_LEN + 1], WallUsec now)
{
    uint8_t random[KSUID_RANDOM_LEN];
    random_bytes(random, sizeof(random));
    ksuid_make(out, now, random);
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
