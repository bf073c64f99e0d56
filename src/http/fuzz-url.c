/* Parts of a URL lie inside it and are clean; what is escaped comes back. */
#include <assert.h>
#include "http/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(Str text, Str part)
{
    if (part.len == 0)
        return;
    assert(part.ptr >= text.ptr && part.ptr + part.len <= text.ptr + text.len);
    for (size_t i = 0; i < part.len; i++)
        assert(part.ptr[i] > ' ' && part.ptr[i] < 0x7f);
}

static void check_escapes(Str text)
{
    CLEANUP_BUF Buf escaped = BUF_INIT(1 << 24), back = BUF_INIT(1 << 24);
    url_escape_segment(&escaped, text);
    assert(url_unescape(&back, buf_str(&escaped), false) == 0 && str_eq(buf_str(&back), text));
    buf_clear(&escaped), buf_clear(&back);
    url_escape_query(&escaped, text);
    assert(url_unescape(&back, buf_str(&escaped), true) == 0 && str_eq(buf_str(&back), text));
    buf_clear(&back);
    if (url_unescape(&back, text, true) == 0)
        assert(back.len <= text.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str text = {(const char *)data, size};
    Url u;
    Err err = {0};
    if (url_parse(text, &u, &err) == 0) {
        Str parts[] = {u.scheme, u.host, u.port, u.path, u.query};
        for (size_t i = 0; i < ARRAY_LEN(parts); i++)
            check_inside(text, parts[i]);
        assert(u.host.len > 0);
    } else {
        assert(err.code == ERR_INVALID);
    }
    check_escapes(text);
    return 0;
}
