#include "prompt.h"

void prompt_join(const Str *parts, size_t n, Buf *out)
{
    Str last = STR_NULL;
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len == 0 || (last.len > 0 && str_eq(parts[i], last)))
            continue;
        if (last.len > 0)
            buf_addz(out, "\n\n");
        buf_adds(out, parts[i]);
        last = parts[i];
    }
}
