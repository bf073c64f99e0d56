#include "limit-table.h"

#include <inttypes.h>
#include <stddef.h>
#include "base/mem.h"

typedef struct Limit {
    const char *flag;
    FlagType type;
    size_t offset;
    int64_t least, most;
} Limit;

static const Limit limits[] = {
#define LIMIT(flag, type, member, dflt, least, most, value, what, beyond)                                    \
    {flag, type, offsetof(Config, member), least, most},
#include "limits.def"
#undef LIMIT
};

/* An Usec and an int64_t both hold what the table allows. */
static int64_t value_of(const Config *c, const Limit *l)
{
    int64_t v;
    memcpy(&v, (const char *)c + l->offset, sizeof(v));
    return v;
}

static void write_value(const Limit *l, int64_t v, Buf *out)
{
    if (l->type != FLAG_DURATION)
        (void)buf_addf(out, "%" PRId64, v);
    else if (v % (int64_t)USEC_PER_SEC)
        (void)buf_addf(out, "%" PRId64 "ms", v / (int64_t)USEC_PER_MSEC);
    else
        (void)buf_addf(out, "%" PRId64 "s", v / (int64_t)USEC_PER_SEC);
}

int limits_check(const Config *c, Err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        const Limit *l = &limits[i];
        int64_t v = value_of(c, l);
        if (v >= l->least && v <= l->most)
            continue;
        CLEANUP_BUF Buf text = BUF_INIT(256);
        write_value(l, l->least, &text);
        (void)buf_addz(&text, " and ");
        write_value(l, l->most, &text);
        return err_set(err, ERR_USAGE, "--%s must be between " STR_FMT, l->flag, STR_ARG(buf_str(&text)));
    }
    return 0;
}

void limits_write(const Config *c, Buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        bool quoted = limits[i].type == FLAG_DURATION;
        (void)buf_addf(out, "%s\"%s\":%s", i ? "," : "", limits[i].flag, quoted ? "\"" : "");
        write_value(&limits[i], value_of(c, &limits[i]), out);
        (void)buf_addz(out, quoted ? "\"" : "");
    }
}
