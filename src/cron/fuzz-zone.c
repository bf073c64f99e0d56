/* Zone files: spans hold the time that was asked for, and a schedule in such a zone goes forward. */
#include <assert.h>
#include "cron/cron.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(zone_freep) Zone *z = NULL;
    if (zone_parse((Str){(const char *)data, size}, &z, NULL) < 0)
        return 0;
    static const int64_t times[] = {INT64_C(-62135596800), -1, 0, 1767225600, INT64_C(253402300799)};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        ZoneSpan s;
        zone_span(z, times[i], &s);
        assert(s.start <= times[i] && times[i] < s.end);
    }
    static const char *const texts[] = {"30 2 * * *", "*/15 * * * 1"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        Cron c;
        WallUsec t = {INT64_C(1767225600000000)};
        int rc = cron_parse(str_from(texts[i]), &c, NULL);
        assert(rc == 0);
        for (int k = 0; k < 20; k++) {
            WallUsec before = t;
            if (cron_next(&c, z, t, &t, NULL) < 0)
                break;
            assert(t.us > before.us);
        }
    }
    return 0;
}
