/* Expressions: what is taken is due some day, later and later, and on days that its own sets hold. */
#include <assert.h>
#include "cron/cron.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Cron c;
    if (cron_parse((Str){(const char *)data, size}, &c, NULL) < 0)
        return 0;
    WallUsec t = {(int64_t)size * INT64_C(86399999999) * 700};
    for (int i = 0; i < 3; i++) {
        WallUsec before = t;
        int rc = cron_next(&c, NULL, t, &t, NULL);
        assert(rc == 0 && t.us > before.us);
        int64_t second = t.us / (int64_t)USEC_PER_SEC;
        assert(t.us % (int64_t)(60 * USEC_PER_SEC) == 0);
        assert(c.hours >> (second / 3600 % 24) & 1 && c.minutes >> (second / 60 % 60) & 1);
    }
    return 0;
}
