#include "crypto/crypto.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void hex_write(Buf *b, const void *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *in = data;
    for (size_t i = 0; i < len; i++)
        buf_add(b, (const char[]){digits[in[i] >> 4], digits[in[i] & 15]}, 2);
}

static void write_base64(Buf *b, const uint8_t *in, size_t len, const char *alphabet, bool pad)
{
    for (size_t at = 0; at < len; at += 3) {
        size_t n = len - at < 3 ? len - at : 3;
        uint32_t bits = (uint32_t)in[at] << 16;
        if (n > 1)
            bits |= (uint32_t)in[at + 1] << 8;
        if (n > 2)
            bits |= in[at + 2];
        char out[4] = {alphabet[bits >> 18], alphabet[bits >> 12 & 63], '=', '='};
        if (n > 1)
            out[2] = alphabet[bits >> 6 & 63];
        if (n > 2)
            out[3] = alphabet[bits & 63];
        buf_add(b, out, pad ? 4 : n + 1);
    }
}

void base64_write(Buf *b, const void *data, size_t len)
{
    write_base64(b, data, len, standard, true);
}

void base64url_write(Buf *b, const void *data, size_t len)
{
    write_base64(b, data, len, url_safe, false);
}

/* Value of a character in either alphabet, or -1. */
static int sextet(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

/* Padding, when there is any, must fill the last group. */
static int strip_padding(Str *in)
{
    size_t padding = 0;
    while (padding < in->len && padding < 2 && in->ptr[in->len - 1 - padding] == '=')
        padding++;
    if (padding && in->len % 4 != 0)
        return -1;
    in->len -= padding;
    return in->len % 4 == 1 ? -1 : 0;
}

int base64_read(Str in, Buf *out)
{
    if (strip_padding(&in) < 0)
        return -1;
    size_t start = out->len;
    uint32_t bits = 0;
    unsigned n_bits = 0;
    for (size_t i = 0; i < in.len; i++) {
        int v = sextet(in.ptr[i]);
        if (v < 0) {
            buf_truncate(out, start);
            return -1;
        }
        bits = bits << 6 | (uint32_t)v;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            buf_addc(out, (char)(bits >> n_bits));
            bits &= (1u << n_bits) - 1;
        }
    }
    if (bits || out->failed) { /* left-over bits that are not zero: two texts would mean the same bytes */
        buf_truncate(out, start);
        return -1;
    }
    return 0;
}
