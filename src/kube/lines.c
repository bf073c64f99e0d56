#include <string.h>
#include "kube-internal.h"

static void give(LineFn fn, void *arg, Str line)
{
    line = str_trim(line);
    if (line.len > 0)
        fn(arg, line);
}

int kube_lines_feed(Buf *rest, Str piece, LineFn fn, void *arg, const bool *stop)
{
    while (piece.len > 0 && !(stop && *stop)) {
        ptrdiff_t end = str_find_byte(piece, '\n');
        if (end < 0)
            return buf_adds(rest, piece);
        Str line = str_slice(piece, 0, (size_t)end);
        piece = str_slice(piece, (size_t)end + 1, piece.len);
        if (rest->len == 0) {
            give(fn, arg, line);
            continue;
        }
        int rc = buf_adds(rest, line);
        if (rc < 0)
            return rc;
        /* The callback may end the stream, not the buffer. */
        give(fn, arg, buf_str(rest));
        buf_clear(rest);
    }
    return 0;
}
