/* TZif files: RFC 9636. */
#include "cron/zone.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "zone-internal.h"

#define FILE_BYTES_MAX ((size_t)256 << 10)
#define HEADER 44
#define TYPE_BYTES 6
#define TIME_MAX (INT64_C(1) << 60) /* sums with an offset stay far from the ends */

typedef struct Header {
    char version;
    uint32_t isut, isstd, leap, times, types, chars;
} Header;

static int corrupt(const char *why, Err *err)
{
    return err_set(err, ERR_CORRUPT, "time zone file: %s", why);
}

static uint64_t big_endian(const char *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | (unsigned char)p[i];
    return v;
}

static int32_t signed32(const char *p)
{
    return (int32_t)(uint32_t)big_endian(p, 4);
}

static int64_t signed_time(const char *p, size_t width)
{
    return width == 8 ? (int64_t)big_endian(p, 8) : signed32(p);
}

static int take_header(Str *s, Header *h, Err *err)
{
    if (s->len < HEADER || memcmp(s->ptr, "TZif", 4) != 0)
        return corrupt("it is none", err);
    const char *p = s->ptr + 20;
    *h = (Header){
        .version = s->ptr[4],
        .isut = (uint32_t)big_endian(p, 4),
        .isstd = (uint32_t)big_endian(p + 4, 4),
        .leap = (uint32_t)big_endian(p + 8, 4),
        .times = (uint32_t)big_endian(p + 12, 4),
        .types = (uint32_t)big_endian(p + 16, 4),
        .chars = (uint32_t)big_endian(p + 20, 4),
    };
    *s = str_slice(*s, HEADER, s->len);
    return 0;
}

/* Of the data block, whose times have `width` bytes. The counts have 32 bits: no sum of these overflows. */
static uint64_t block_bytes(const Header *h, size_t width)
{
    return (uint64_t)h->times * (width + 1) + (uint64_t)h->types * TYPE_BYTES + h->chars +
           (uint64_t)h->leap * (width + 4) + h->isstd + h->isut;
}

static int check_header(const Header *h, Str s, size_t width, Err *err)
{
    if (block_bytes(h, width) > s.len)
        return corrupt("it is cut off", err);
    if (h->types < 1 || h->types > 256)
        return corrupt("it has no local time types", err);
    if (h->leap)
        return corrupt("it counts leap seconds", err); /* "right/...": our clock does not */
    return 0;
}

static int take_offset(const char *types, unsigned type, int32_t *ret, Err *err)
{
    *ret = signed32(types + (size_t)type * TYPE_BYTES);
    if (*ret < -ZONE_OFFSET_MAX || *ret > ZONE_OFFSET_MAX)
        return corrupt("an offset is out of range", err);
    return 0;
}

static int take_table(Zone *z, const Header *h, Str s, size_t width, Err *err)
{
    const char *times = s.ptr, *indexes = times + (size_t)h->times * width, *types = indexes + h->times;
    z->at = xcalloc((size_t)h->times + 1, sizeof(*z->at)); /* bounded by the file's size */
    z->offsets = xcalloc((size_t)h->times + 1, sizeof(*z->offsets));
    int rc = take_offset(types, 0, &z->first, err);
    for (size_t i = 0; rc == 0 && i < h->times; i++) {
        unsigned type = (unsigned char)indexes[i];
        z->at[i] = signed_time(times + i * width, width);
        if (type >= h->types)
            return corrupt("a transition names no type", err);
        if ((i && z->at[i] <= z->at[i - 1]) || z->at[i] < -TIME_MAX || z->at[i] > TIME_MAX)
            return corrupt("its transitions are not in order", err);
        rc = take_offset(types, type, &z->offsets[i], err);
    }
    z->n = h->times;
    return rc;
}

static int take_footer(Zone *z, Str s, Err *err)
{
    if (s.len < 2 || s.ptr[0] != '\n')
        return corrupt("its footer is missing", err);
    s = str_slice(s, 1, s.len);
    ptrdiff_t end = str_find_byte(s, '\n');
    if (end < 0)
        return corrupt("its footer is cut off", err);
    return end ? zone_rule_parse(str_slice(s, 0, (size_t)end), &z->rule, err) : 0;
}

/* The first block has times of 32 bits and is only read when there is no second one. */
static int parse(Zone *z, Str s, Err *err)
{
    Header h;
    int rc = take_header(&s, &h, err);
    if (rc == 0 && h.version < '2') {
        rc = check_header(&h, s, 4, err);
        return rc < 0 ? rc : take_table(z, &h, s, 4, err);
    }
    if (rc == 0 && block_bytes(&h, 4) > s.len)
        rc = corrupt("it is cut off", err);
    if (rc < 0)
        return rc;
    s = str_slice(s, (size_t)block_bytes(&h, 4), s.len);
    rc = take_header(&s, &h, err);
    if (rc == 0)
        rc = check_header(&h, s, 8, err);
    if (rc == 0)
        rc = take_table(z, &h, s, 8, err);
    return rc < 0 ? rc : take_footer(z, str_slice(s, (size_t)block_bytes(&h, 8), s.len), err);
}

int zone_parse(Str bytes, Zone **ret, Err *err)
{
    CLEANUP(zone_freep) Zone *z = xnew(Zone);
    int rc = parse(z, bytes, err);
    if (rc == 0)
        *ret = TAKE(z);
    return rc;
}

Zone *zone_free(Zone *z)
{
    if (!z)
        return NULL;
    free(z->at);
    free(z->offsets);
    free(z);
    return NULL;
}

/* ---- files ---- */

/* Names are paths below the directory, and nothing else. */
static bool name_ok(Str name)
{
    if (!name.len || name.len > ZONE_NAME_MAX || name.ptr[0] == '/')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              memchr("/_+-", c, 4)))
            return false;
    }
    return true;
}

static int unknown(Str name, Err *err)
{
    return err_set(err, ERR_INVALID, "unknown time zone \"" STR_FMT "\": give a name such as Europe/Berlin",
                   STR_ARG(str_slice(name, 0, ZONE_NAME_MAX)));
}

int zone_load(const char *dir, Str name, Zone **ret, Err *err)
{
    if (!name.len || str_eq(name, STR("UTC"))) {
        *ret = xnew(Zone);
        return 0;
    }
    if (!name_ok(name))
        return unknown(name, err);
    CLEANUP_FREE char *file = str_dup(name);
    CLEANUP_FREE char *path = path_join(dir ? dir : ZONE_DIR, file);
    CLEANUP_BUF Buf bytes = BUF_INIT(FILE_BYTES_MAX);
    /* A folder, a table beside the zones, or a file that cannot be read: no zone, whatever it is. */
    if (file_read(path, &bytes, NULL) < 0 || zone_parse(buf_str(&bytes), ret, NULL) < 0)
        return unknown(name, err);
    return 0;
}

/* ---- spans ---- */

static void table_span(const Zone *z, int64_t t, ZoneSpan *ret)
{
    size_t lo = 0, hi = z->n; /* the transitions at or before t */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (z->at[mid] <= t)
            lo = mid + 1;
        else
            hi = mid;
    }
    *ret = (ZoneSpan){
        .start = lo ? z->at[lo - 1] : INT64_MIN,
        .end = lo < z->n ? z->at[lo] : INT64_MAX,
        .offset = lo ? z->offsets[lo - 1] : z->first,
        .before = lo > 1 ? z->offsets[lo - 2] : z->first,
    };
}

void zone_span(const Zone *z, int64_t t, ZoneSpan *ret)
{
    if (!z) {
        *ret = (ZoneSpan){INT64_MIN, INT64_MAX, 0, 0};
        return;
    }
    ZoneSpan table;
    table_span(z, t, &table);
    *ret = table;
    if (table.end != INT64_MAX || !z->rule.known)
        return;
    zone_rule_span(&z->rule, t, ret);
    if (ret->start <= table.start) { /* the rule goes on from the last transition of the table */
        ret->start = table.start;
        ret->before = table.before;
    }
}
