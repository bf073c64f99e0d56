#include "text-internal.h"

#include <assert.h>
#include "base/cleanup.h"

static const struct {
    char unit;
    uint64_t nanos;
} timeout_units[] = {
    {'n', 1},
    {'u', UINT64_C(1000)},
    {'m', UINT64_C(1000000)},
    {'S', UINT64_C(1000000000)},
    {'M', UINT64_C(60000000000)},
    {'H', UINT64_C(3600000000000)},
};

int grpc_timeout_parse(Str s, Usec *ret)
{
    if (s.len < 2 || s.len > 9)
        return -1;
    uint64_t n = 0;
    for (size_t i = 0; i < s.len - 1; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return -1;
        n = n * 10 + (uint64_t)(s.ptr[i] - '0');
    }
    for (size_t i = 0; i < ARRAY_LEN(timeout_units); i++) {
        if (timeout_units[i].unit != s.ptr[s.len - 1])
            continue;
        uint64_t nanos;
        bool over = __builtin_mul_overflow(n, timeout_units[i].nanos, &nanos) || nanos > INT64_MAX;
        *ret = over ? USEC_NEVER : (nanos + 999) / 1000;
        return 0;
    }
    return -1;
}

void grpc_timeout_format(Usec t, char out[static GRPC_TIMEOUT_TEXT_MAX])
{
    const uint64_t digits_max = 99999999;
    uint64_t n = digits_max;
    char unit = 'H';
    for (size_t i = 1; i < ARRAY_LEN(timeout_units); i++) { /* from microseconds */
        uint64_t size = timeout_units[i].nanos / 1000;
        if (t / size >= digits_max)
            continue;
        n = t / size + (t % size != 0);
        unit = timeout_units[i].unit;
        break;
    }
    snprintf(out, GRPC_TIMEOUT_TEXT_MAX, "%u%c", (unsigned)n, unit);
}

bool grpc_content_type_ok(Str v, const char **ret_echo)
{
    const Str base = STR("application/grpc");
    if (!str_starts(v, base))
        return false;
    Str rest = str_slice(v, base.len, v.len);
    if (rest.len == 0 || rest.ptr[0] == ';') {
        *ret_echo = "application/grpc";
        return true;
    }
    Str subtype = str_cut(&rest, ';');
    *ret_echo = "application/grpc+proto";
    return str_eq(subtype, STR("+proto"));
}

/* Length of the character at the start of s, 0 when it is not valid UTF-8. */
static size_t utf8_char_len(Str s)
{
    uint8_t b = (uint8_t)s.ptr[0];
    size_t len = b < 0x80 ? 1 : b < 0xc2 ? 0 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : b < 0xf5 ? 4 : 0;
    /* str_is_utf8() refuses NUL, which is no trouble here: it is escaped. */
    if (len <= 1)
        return len;
    return len <= s.len && str_is_utf8(str_slice(s, 0, len)) ? len : 0;
}

static void percent_add(Buf *out, uint8_t b)
{
    static const char hex[] = "0123456789ABCDEF";
    if (b >= 0x20 && b <= 0x7e && b != '%') {
        buf_addc(out, (char)b);
        return;
    }
    buf_addc(out, '%');
    buf_addc(out, hex[b >> 4]);
    buf_addc(out, hex[b & 15]);
}

void grpc_percent_encode(Str text, Buf *out)
{
    const Str replacement = STR("\xef\xbf\xbd");
    size_t used = 0;
    while (text.len > 0) {
        size_t len = utf8_char_len(text);
        Str c = len > 0 ? str_slice(text, 0, len) : replacement;
        if (used + c.len > GRPC_MESSAGE_MAX)
            return;
        for (size_t i = 0; i < c.len; i++)
            percent_add(out, (uint8_t)c.ptr[i]);
        used += c.len;
        text = str_slice(text, len > 0 ? len : 1, text.len);
    }
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void grpc_percent_decode(Str s, Buf *out)
{
    for (size_t i = 0; i < s.len; i++) {
        int hi = s.ptr[i] == '%' && i + 2 < s.len ? hex_value(s.ptr[i + 1]) : -1;
        int lo = hi >= 0 ? hex_value(s.ptr[i + 2]) : -1;
        if (lo >= 0) {
            buf_addc(out, (char)(hi << 4 | lo));
            i += 2;
        } else {
            buf_addc(out, s.ptr[i]);
        }
    }
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int grpc_base64_decode(Str s, Buf *out)
{
    if (s.len % 4 == 0 && str_ends(s, STR("=")))
        s.len -= str_ends(s, STR("==")) ? 2 : 1;
    if (s.len % 4 == 1)
        return -1;
    uint32_t bits = 0;
    unsigned n = 0;
    for (size_t i = 0; i < s.len; i++) {
        int v = base64_value(s.ptr[i]);
        if (v < 0)
            return -1;
        bits = bits << 6 | (uint32_t)v;
        n += 6;
        if (n >= 8) {
            n -= 8;
            buf_addc(out, (char)(bits >> n));
        }
    }
    return 0;
}
