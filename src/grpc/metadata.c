#include "metadata-internal.h"

#include <assert.h>
#include "text-internal.h"

enum { FIELD_OVERHEAD = 32 }; /* RFC 9113, 6.5.2 */

typedef struct Record {
    uint32_t name_len, value_len;
} Record;

void metadata_init(Metadata *m, size_t max)
{
    *m = (Metadata){0};
    buf_init(&m->data, max);
}

void metadata_done(Metadata *m)
{
    buf_done(&m->data);
}

static void record_add(Metadata *m, Str name, Str value)
{
    Record r = {(uint32_t)name.len, (uint32_t)value.len};
    buf_add(&m->data, &r, sizeof(r));
    buf_adds(&m->data, name);
    buf_adds(&m->data, value);
}

/* Senders may join binary values with commas, since base64 has none. */
static void binary_add(Metadata *m, Str name, Str value)
{
    while (value.ptr) {
        Str part = str_trim(str_cut(&value, ','));
        CLEANUP_BUF Buf decoded = BUF_INIT(m->data.max);
        if (grpc_base64_decode(part, &decoded) < 0)
            m->bad_base64 = true;
        else
            record_add(m, name, buf_str(&decoded));
    }
}

bool metadata_add(Metadata *m, Str name, Str value)
{
    m->listed += name.len + value.len + FIELD_OVERHEAD;
    if (m->listed > m->data.max)
        return false;
    value = str_trim(value);
    if (str_ends(name, STR("-bin")))
        binary_add(m, name, value);
    else
        record_add(m, name, value);
    return !m->data.failed;
}

/* The next record at *pos; false at the end. */
static bool record_next(const Metadata *m, size_t *pos, Str *name, Str *value)
{
    Record r;
    if (*pos == m->data.len)
        return false;
    memcpy(&r, m->data.data + *pos, sizeof(r));
    const char *p = m->data.data + *pos + sizeof(r);
    *name = (Str){p, r.name_len};
    *value = (Str){p + r.name_len, r.value_len};
    *pos += sizeof(r) + r.name_len + r.value_len;
    assert(*pos <= m->data.len);
    return true;
}

Str metadata_get(const Metadata *m, const char *name)
{
    Str n, v;
    for (size_t pos = 0; record_next(m, &pos, &n, &v);)
        if (str_eqz(n, name))
            return v;
    return STR_NULL;
}

size_t metadata_count(const Metadata *m, const char *name)
{
    Str n, v;
    size_t count = 0;
    for (size_t pos = 0; record_next(m, &pos, &n, &v);)
        count += str_eqz(n, name);
    return count;
}
