/* Paths and headers that a client chooses: cleaned, routed, weighed. */
#include <assert.h>
#include "rest-internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A cleaned path is clean, and cleaning it again changes nothing. */
static void check_clean(Str path)
{
    CLEANUP_BUF Buf once = BUF_INIT(1 << 20);
    CLEANUP_BUF Buf twice = BUF_INIT(1 << 20);
    path_clean(path, &once);
    if (str_find_byte(buf_str(&once), '%') < 0) { /* escaped octets would be escaped again */
        path_clean(buf_str(&once), &twice);
        assert(str_eq(buf_str(&once), buf_str(&twice)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str text = {(const char *)data, size};
    CLEANUP_BUF Buf allow = BUF_INIT(1024);
    CLEANUP_BUF Buf prefixed = BUF_INIT(1 << 20);
    bool clean;
    Vars v = {0};
    (void)buf_addz(&prefixed, API_PREFIX "/");
    (void)buf_adds(&prefixed, text);
    Str path = path_normalise(buf_str(&prefixed), &clean);
    const Route *rt = route_match(STR("GET"), path, &v, &allow);
    assert(!rt || v.id.len <= size);
    check_clean(path);
    (void)gzip_accepted(text);
    /* Of two types at most one is preferred. */
    bool stream = accept_prefers(text, "text/event-stream", "application/json");
    assert(!stream || !accept_prefers(text, "application/json", "text/event-stream"));
    return 0;
}
