#include "redact.h"

#include "base/mem.h"
#include "base/vec.h"

#define SECRET_LEN_MAX ((size_t)64 << 10)

typedef struct Entry {
    Secret *value;
    char *name;
} Entry;

typedef struct Entries {
    Entry *ptr;
    size_t len, cap;
} Entries;

struct RedactSet {
    Entries entries; /* longest value first */
    bool first[256]; /* bytes that some value starts with */
};

RedactSet *redact_set_new(void)
{
    return xnew(RedactSet);
}

RedactSet *redact_set_free(RedactSet *s)
{
    if (!s)
        return NULL;
    VEC_FOREACH (&s->entries, e) {
        secret_free(e->value);
        free(e->name);
    }
    vec_free(&s->entries);
    free(s);
    return NULL;
}

void redact_set_add(RedactSet *s, const char *name, Str value)
{
    size_t at = 0;

    value = str_trim(value);
    if (value.len < REDACT_MIN || value.len > SECRET_LEN_MAX)
        return;
    while (at < s->entries.len && secret_reveal(s->entries.ptr[at].value).len >= value.len) {
        if (str_eq(secret_reveal(s->entries.ptr[at].value), value))
            return;
        at++;
    }
    vec_push(&s->entries, ((Entry){0}));
    memmove(s->entries.ptr + at + 1, s->entries.ptr + at, (s->entries.len - 1 - at) * sizeof(Entry));
    s->entries.ptr[at] = (Entry){secret_new(value), xstrdup(name)};
    s->first[(unsigned char)value.ptr[0]] = true;
}

typedef enum Match { MATCH_NONE, MATCH_WHOLE, MATCH_START } Match;

/* What stands at the start of `s`. With `hold`, MATCH_START: all of it may be the beginning of a secret, of a
   longer one also when it is a shorter one whole. */
static Match match_at(const RedactSet *set, Str s, bool hold, const Entry **ret)
{
    VEC_FOREACH (&set->entries, e) {
        Str v = secret_reveal(e->value);
        if (s.len >= v.len && memcmp(s.ptr, v.ptr, v.len) == 0) {
            *ret = e;
            return MATCH_WHOLE;
        }
        if (hold && s.len < v.len && memcmp(s.ptr, v.ptr, s.len) == 0)
            return MATCH_START;
    }
    return MATCH_NONE;
}

/* Copies `in` with secrets replaced. With `hold`, stops at what may be the start of one and returns the rest.
 */
static Str replace(const RedactSet *set, Str in, bool hold, Buf *out)
{
    size_t plain = 0, at = 0;
    const Entry *e = NULL;

    while (at < in.len) {
        if (!set->first[(unsigned char)in.ptr[at]]) {
            at++;
            continue;
        }
        Match m = match_at(set, str_slice(in, at, in.len), hold, &e);
        if (m == MATCH_NONE) {
            at++;
            continue;
        }
        buf_adds(out, str_slice(in, plain, at));
        if (m == MATCH_START)
            return str_slice(in, at, in.len);
        buf_addf(out, "[REDACTED_%s]", e->name);
        at += secret_reveal(e->value).len;
        plain = at;
    }
    buf_adds(out, str_slice(in, plain, in.len));
    return STR("");
}

void redact_text(const RedactSet *s, Str in, Buf *out)
{
    if (s)
        replace(s, in, false, out);
    else
        buf_adds(out, in);
}

void redact_stream_init(RedactStream *r)
{
    buf_init(&r->held, SIZE_MAX / 2);
}

void redact_stream_done(RedactStream *r)
{
    if (r->held.data)
        secret_erase(r->held.data, r->held.len);
    buf_done(&r->held);
}

void redact_stream(const RedactSet *s, RedactStream *r, Str in, Buf *out)
{
    if (!s || s->entries.len == 0) {
        buf_adds(out, in);
        return;
    }
    if (r->held.len == 0) {
        buf_adds(&r->held, replace(s, in, true, out));
        return;
    }
    CLEANUP_BUF Buf joined = BUF_INIT(SIZE_MAX / 2);
    buf_adds(&joined, buf_str(&r->held));
    buf_adds(&joined, in);
    buf_clear(&r->held);
    buf_adds(&r->held, replace(s, buf_str(&joined), true, out));
}

void redact_stream_end(const RedactSet *s, RedactStream *r, Buf *out)
{
    redact_text(s, buf_str(&r->held), out);
    buf_clear(&r->held);
}
