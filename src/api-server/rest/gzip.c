/* gzip for plain answers; never for streams, which must not wait for a compressor. RFC 1952, RFC 9110 12.5.3.
 */
#include "rest-internal.h"

#include <zlib.h>

/* "q=0", "q=0.0": the coding is refused. */
static bool is_zero_quality(Str params)
{
    while (params.ptr) {
        Str p = str_trim(str_cut(&params, ';'));
        if (!str_istarts(p, STR("q=")))
            continue;
        double value;
        return str_to_double(str_slice(p, 2, p.len), &value) < 0 || value <= 0;
    }
    return false;
}

bool gzip_accepted(Str header)
{
    bool any = false;
    while (header.ptr) {
        Str params = str_cut(&header, ',');
        Str coding = str_trim(str_cut(&params, ';'));
        bool refused = params.ptr && is_zero_quality(params);
        if (str_ieq(coding, STR("gzip")) || str_ieq(coding, STR("x-gzip")))
            return !refused;
        if (str_eq(coding, STR("*")))
            any = !refused;
    }
    return any;
}

int gzip_pack(Str in, Buf *out)
{
    z_stream z = {0};
    if (in.len > UINT32_MAX ||
        deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return -1;
    uLong bound = deflateBound(&z, (uLong)in.len);
    void *room = bound <= UINT32_MAX ? buf_reserve(out, bound) : NULL;
    int rc = Z_BUF_ERROR;
    if (room) {
        z.next_in = (Bytef *)(uintptr_t)in.ptr;
        z.avail_in = (uInt)in.len;
        z.next_out = room;
        z.avail_out = (uInt)bound;
        rc = deflate(&z, Z_FINISH);
        if (rc == Z_STREAM_END)
            buf_commit(out, z.total_out);
    }
    (void)deflateEnd(&z);
    return rc == Z_STREAM_END ? 0 : -1;
}
