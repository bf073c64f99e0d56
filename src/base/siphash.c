#include "siphash-internal.h"

#include <endian.h>

typedef struct State {
    uint64_t v0, v1, v2, v3;
} State;

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void mix(State *s, unsigned rounds)
{
    while (rounds--) {
        s->v0 += s->v1;
        s->v1 = rotate(s->v1, 13) ^ s->v0;
        s->v0 = rotate(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = rotate(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = rotate(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = rotate(s->v1, 17) ^ s->v2;
        s->v2 = rotate(s->v2, 32);
    }
}

static void absorb(State *s, uint64_t word, unsigned rounds)
{
    s->v3 ^= word;
    mix(s, rounds);
    s->v0 ^= word;
}

uint64_t siphash(unsigned c_rounds, unsigned d_rounds, SipKey key, Str data)
{
    State s = {key.k0 ^ 0x736f6d6570736575, key.k1 ^ 0x646f72616e646f6d, key.k0 ^ 0x6c7967656e657261,
               key.k1 ^ 0x7465646279746573};
    size_t whole = data.len & ~(size_t)7;
    for (size_t at = 0; at < whole; at += 8) {
        uint64_t word;
        memcpy(&word, data.ptr + at, sizeof(word));
        absorb(&s, le64toh(word), c_rounds);
    }
    uint64_t tail = (uint64_t)data.len << 56;
    for (size_t i = whole; i < data.len; i++)
        tail |= (uint64_t)(unsigned char)data.ptr[i] << (8 * (i - whole));
    absorb(&s, tail, c_rounds);
    s.v2 ^= 0xff;
    mix(&s, d_rounds);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
