#include "stderr-ring.h"

#include "base/mem.h"

#define LINE_LENGTH 4096 /* longer lines are dropped */

void stderr_ring_init(StderrRing *r)
{
    *r = (StderrRing){0};
    line_reader_init(&r->reader, LINE_LENGTH);
}

void stderr_ring_clear(StderrRing *r)
{
    stderr_ring_done(r);
    stderr_ring_init(r);
}

void stderr_ring_done(StderrRing *r)
{
    for (size_t i = 0; i < STDERR_LINES; i++)
        free(r->lines[i]);
    line_reader_done(&r->reader);
    *r = (StderrRing){0};
}

static void add_line(void *arg, Str line)
{
    StderrRing *r = arg;
    Utf8Repair repair = {0};
    CLEANUP_BUF Buf clean = BUF_INIT(LINE_LENGTH * 3 + 16);

    if (str_trim(line).len == 0)
        return;
    utf8_repair(&repair, line, &clean);
    utf8_repair_end(&repair, &clean);
    free(r->lines[r->next]);
    r->lines[r->next] = buf_take(&clean);
    r->next = (r->next + 1) % STDERR_LINES;
}

void stderr_ring_feed(StderrRing *r, Str bytes)
{
    line_reader_feed(&r->reader, bytes, add_line, r);
}

bool stderr_ring_contains(StderrRing *r, const char *text)
{
    line_reader_end(&r->reader, add_line, r);
    for (size_t i = 0; i < STDERR_LINES; i++)
        if (r->lines[i] && str_find(str_from(r->lines[i]), str_from(text)) >= 0)
            return true;
    return false;
}

void stderr_ring_append(StderrRing *r, Buf *out)
{
    bool first = true;

    line_reader_end(&r->reader, add_line, r);
    for (size_t i = 0; i < STDERR_SHOWN; i++) {
        const char *line = r->lines[(r->next + STDERR_LINES - STDERR_SHOWN + i) % STDERR_LINES];
        if (!line)
            continue;
        buf_addz(out, first ? "\n\n" : "\n");
        buf_addz(out, line);
        first = false;
    }
}
