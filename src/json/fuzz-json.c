/* What was parsed and written reads back and is written the same. A real without a fraction reads back as an
   integer (and -0 as 0), so bytes are compared from the second round on. */
#include "json/json.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const json_t *v, void (*write)(Buf *, const json_t *))
{
    CLEANUP_BUF Buf first = BUF_INIT(1 << 26), second = BUF_INIT(1 << 26), third = BUF_INIT(1 << 26);
    CLEANUP_JSON json_t *once = NULL, *twice = NULL;
    write(&first, v);
    int r = json_parse(buf_str(&first), &once, NULL);
    assert(!first.failed && r == 0);
    write(&second, once);
    r = json_parse(buf_str(&second), &twice, NULL);
    write(&third, twice);
    assert(r == 0 && json_equal(once, twice) && str_eq(buf_str(&second), buf_str(&third)));
}

static void write_pretty(Buf *b, const json_t *v)
{
    json_write_pretty(b, v, 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP_JSON json_t *v = NULL;
    Err err = {0};
    Str text = {(const char *)data, size};
    if (json_parse(text, &v, &err) < 0) {
        assert(!v && err.code && *err.msg && str_is_utf8(str_from(err.msg)));
    } else {
        check_round_trip(v, json_write);
        check_round_trip(v, json_write_plain);
        check_round_trip(v, write_pretty);
    }
    CLEANUP_JSON json_t *string = json_strv(text);
    check_round_trip(string, json_write);
    return 0;
}
