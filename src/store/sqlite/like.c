/*
 * LIKE and ILIKE as PostgreSQL means them: '%' any text, '_' one character, backslash takes the next
 * character as it is. SQLite's own LIKE has no default escape and one setting of case for the whole
 * connection. ILIKE compares characters by their simple lower case.
 */
#include "db-internal.h"

#include <locale.h>
#include <wctype.h>
#include "base/mem.h"

/* Steps of one comparison: a pattern with many '%' and '_' against a long text would otherwise take minutes.
 */
#define STEPS_MAX 10000000
#define STEPS_LOOK                                                                                           \
    100000 /* between two looks at the clock: SQLite looks between rows only, and few of them */

typedef struct Like {
    const SqliteDb *db;
    locale_t lower; /* 0 = letters differ by case */
} Like;

typedef struct Match {
    const char *p, *p_end; /* pattern */
    const char *t, *t_end; /* text */
    const Like *like;
    unsigned steps;
} Match;

/* Next character; bytes that are no UTF-8 count as one character each. */
static uint32_t next_char(const char **p, const char *end)
{
    const unsigned char *s = (const unsigned char *)*p;
    size_t left = (size_t)(end - *p);
    uint32_t c = s[0];
    size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
    if (n == 1 || n > left) {
        *p += 1;
        return c;
    }
    c &= 0x7fu >> n;
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (s[i] & 0x3f);
    *p += n;
    return c;
}

static bool same(const Match *m, uint32_t a, uint32_t b)
{
    if (a == b)
        return true;
    locale_t lower = m->like->lower;
    return lower && towlower_l((wint_t)a, lower) == towlower_l((wint_t)b, lower);
}

/* One element of the pattern (not '%') against the next character of the text. */
static bool match_one(Match *m)
{
    bool any = *m->p == '_';
    if (*m->p == '\\' && m->p + 1 < m->p_end)
        m->p++;
    uint32_t want = next_char(&m->p, m->p_end);
    uint32_t have = next_char(&m->t, m->t_end);
    return any || same(m, want, have);
}

/* 1 match, 0 none, -SQLITE_TOOBIG too many steps, -SQLITE_INTERRUPT too late. Only the last '%' needs to be
 * tried again: what an earlier one could take more, the last one can take too. */
static int match(Match *m)
{
    const char *retry_p = NULL;
    const char *retry_t = NULL;
    for (;;) {
        if (++m->steps > STEPS_MAX)
            return -SQLITE_TOOBIG;
        if (m->steps % STEPS_LOOK == 0 && sqlite_is_late(m->like->db))
            return -SQLITE_INTERRUPT;
        if (m->p < m->p_end && *m->p == '%') {
            retry_p = ++m->p;
            retry_t = m->t;
            continue;
        }
        if (m->p == m->p_end && m->t == m->t_end)
            return 1;
        if (m->p < m->p_end && m->t < m->t_end && match_one(m))
            continue;
        if (!retry_p || retry_t == m->t_end)
            return 0;
        next_char(&retry_t, m->t_end);
        m->p = retry_p;
        m->t = retry_t;
    }
}

static void like(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    const char *text = (const char *)sqlite3_value_text(argv[0]);
    const char *pattern = (const char *)sqlite3_value_text(argv[1]);
    if (!text || !pattern)
        return; /* NULL */
    Match m = {
        .p = pattern,
        .p_end = pattern + sqlite3_value_bytes(argv[1]),
        .t = text,
        .t_end = text + sqlite3_value_bytes(argv[0]),
        .like = sqlite3_user_data(ctx),
    };
    int rc = match(&m);
    if (rc < 0) {
        sqlite3_result_error(ctx, "the search pattern takes too many steps", -1);
        sqlite3_result_error_code(ctx, -rc);
    } else {
        sqlite3_result_int(ctx, rc);
    }
}

static void like_free(void *arg)
{
    Like *l = arg;
    if (l->lower)
        freelocale(l->lower);
    free(l);
}

/* SQLite frees the Like, also when it refuses the function. */
static int add(SqliteDb *d, const char *name, locale_t lower)
{
    Like *l = xnew(Like);
    *l = (Like){d, lower};
    return sqlite3_create_function_v2(d->h, name, 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, l,
                                      like, NULL, NULL, like_free);
}

int sqlite_like_register(SqliteDb *d)
{
    locale_t lower = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (!lower)
        lower = newlocale(LC_CTYPE_MASK, "C", (locale_t)0);
    int rc = add(d, "like_lower", lower);
    return rc == SQLITE_OK ? add(d, "like_case", (locale_t)0) : rc;
}

void sqlite_like_write(Buf *out, const char *column, unsigned param, bool ignore_case)
{
    buf_addf(out, "like_%s(%s, ?%u)", ignore_case ? "lower" : "case", column, param);
}
