#include "meter-internal.h"

#include <nghttp2/nghttp2.h>

enum { CONTINUATIONS_MAX = 8, MAGIC_LEN = NGHTTP2_CLIENT_MAGIC_LEN };

/* Resets: the numbers that servers agreed on after CVE-2023-44487; resets that the peer provokes from us
   count too (CVE-2025-8671). Pings: one per ten seconds for ever, ten at once, and free while we send
   (bandwidth probes). */
static const BucketRule rule_resets = {USEC_PER_SEC / 33, 1000};
static const BucketRule rule_pings = {10 * USEC_PER_SEC, 10};
static const BucketRule rule_settings = {USEC_PER_SEC, 30};
static const BucketRule rule_empty = {USEC_PER_SEC / 10, 100};
/* Frames that carry nothing for us: PRIORITY, WINDOW_UPDATE, unknown types. Cheap, but not free. */
static const BucketRule rule_idle = {USEC_PER_SEC / 2000, 10000};

void h2_meter_init(H2Meter *m, bool server, size_t block_max)
{
    *m = (H2Meter){.magic_left = server ? MAGIC_LEN : 0, .block_max = (uint32_t)block_max};
}

static const char *take(Bucket *b, const BucketRule *rule, Usec now, const char *text)
{
    return bucket_take(b, rule, now) ? NULL : text;
}

static const char *block_add(H2Meter *m, uint32_t len)
{
    m->block_len += len;
    return m->block_len > m->block_max ? "header block too large" : NULL;
}

static const char *continuation_check(H2Meter *m, uint32_t len)
{
    if (++m->continuations > CONTINUATIONS_MAX)
        return "too_many_continuations";
    return block_add(m, len);
}

static const char *headers_check(H2Meter *m, uint32_t len)
{
    m->continuations = 0;
    m->block_len = 0;
    return block_add(m, len);
}

static const char *frame_check(H2Meter *m, uint8_t type, uint8_t flags, uint32_t len, Usec now)
{
    switch (type) {
    case NGHTTP2_DATA:
        if (len > 0 || (flags & NGHTTP2_FLAG_END_STREAM))
            return NULL;
        return take(&m->empty, &rule_empty, now, "too_many_empty_frames");
    case NGHTTP2_HEADERS:
        return headers_check(m, len);
    case NGHTTP2_CONTINUATION:
        return continuation_check(m, len);
    case NGHTTP2_RST_STREAM:
        return take(&m->resets, &rule_resets, now, "too_many_resets");
    case NGHTTP2_PING:
        if (!(flags & NGHTTP2_FLAG_ACK))
            return take(&m->pings, &rule_pings, now, "too_many_pings");
        break;
    case NGHTTP2_SETTINGS:
        return take(&m->settings, &rule_settings, now, "too_many_settings");
    default:
        break;
    }
    return take(&m->idle, &rule_idle, now, "too_many_control_frames");
}

static const char *head_done(H2Meter *m, Usec now)
{
    const uint8_t *h = m->head;
    uint32_t len = (uint32_t)h[0] << 16 | (uint32_t)h[1] << 8 | h[2];
    m->have = 0;
    m->payload_left = len;
    return frame_check(m, h[3], h[4], len, now);
}

static Str skip(Str bytes, size_t n)
{
    return str_slice(bytes, n, bytes.len);
}

const char *h2_meter_scan(H2Meter *m, Str bytes, Usec now)
{
    while (bytes.len > 0) {
        if (m->magic_left > 0) {
            size_t n = bytes.len < m->magic_left ? bytes.len : m->magic_left;
            m->magic_left = (uint8_t)(m->magic_left - n);
            bytes = skip(bytes, n);
        } else if (m->payload_left > 0) {
            size_t n = bytes.len < m->payload_left ? bytes.len : m->payload_left;
            m->payload_left -= (uint32_t)n;
            bytes = skip(bytes, n);
        } else {
            m->head[m->have++] = (uint8_t)bytes.ptr[0];
            bytes = skip(bytes, 1);
            const char *overdone = m->have == sizeof(m->head) ? head_done(m, now) : NULL;
            if (overdone)
                return overdone;
        }
    }
    return NULL;
}

const char *h2_meter_reset_sent(H2Meter *m, Usec now)
{
    return take(&m->resets, &rule_resets, now, "too_many_resets");
}
