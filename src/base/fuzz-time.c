/* Times and durations: whatever is taken is printed as a text that gives the same time. */
#include "base/clock.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str text = {(const char *)data, size};
    char out[RFC3339_MAX];
    WallUsec t, back;
    if (rfc3339_parse(text, &t) == 0) {
        int r = rfc3339_parse(rfc3339_format(t, out), &back);
        /* An offset can put a time a day outside of the years that can be printed. */
        assert(r == 0 && (back.us == t.us || out[0] == '0' || out[0] == '9'));
    }
    if (size >= sizeof(t)) {
        memcpy(&t, data, sizeof(t));
        int r = rfc3339_parse(rfc3339_format(t, out), &back);
        assert(r == 0);
    }
    Usec us;
    if (duration_parse(text, &us) == 0)
        assert(us <= INT64_MAX / 1000);
    int64_t i;
    double d;
    if (str_to_i64(text, &i) == 0) {
        int r = str_to_double(text, &d);
        assert(r == 0 || size >= 512);
    }
    return 0;
}
