/* Conditions against a second, naive reading of them: random searches over random rows give the same rows. */
#include "test-support.h"

#include "base/map.h"
#include "base/mem.h"

enum { ROWS = 60, TERMS = 490, SEARCHES = 1500, NO = 0, YES = 1, UNKNOWN = -1 };

/* ---- the naive reading ---- */

static uint32_t fold(uint32_t c, bool ignore_case)
{
    if (!ignore_case)
        return c;
    if (c == 0xc9) /* the one capital outside of ASCII that the rows hold */
        return 0xe9;
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static size_t decode(const char *s, uint32_t *out)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
        if (*p >= 0xc0) {
            out[n++] = (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
            p++;
        } else {
            out[n++] = *p;
        }
    }
    return n;
}

static bool naive_like(const uint32_t *p, size_t np, const uint32_t *t, size_t nt, bool ignore_case)
{
    if (!np)
        return !nt;
    if (*p == '%')
        return naive_like(p + 1, np - 1, t, nt, ignore_case) ||
               (nt && naive_like(p, np, t + 1, nt - 1, ignore_case));
    if (!nt)
        return false;
    if (*p == '_')
        return naive_like(p + 1, np - 1, t + 1, nt - 1, ignore_case);
    size_t skip = *p == '\\' && np > 1;
    return fold(p[skip], ignore_case) == fold(*t, ignore_case) &&
           naive_like(p + 1 + skip, np - 1 - skip, t + 1, nt - 1, ignore_case);
}

static int like_of(const char *text, const char *pattern, bool ignore_case)
{
    uint32_t p[64], t[64];
    size_t np = decode(pattern, p);
    size_t nt = decode(text, t);
    return naive_like(p, np, t, nt, ignore_case);
}

/* A value of a row as what it is compared as: text, or a number. */
typedef struct Known {
    bool null;
    const char *text;
    double number;
} Known;

static Known row_value(const Obj *o, int field)
{
    const Value *v = &o->v[field];
    Known k = {.null = v->state != V_SET};
    if (k.null)
        return k;
    switch (o->kind->fields[field].type) {
    case FT_STRING:
    case FT_JSON_TEXT:
        k.text = v->str;
        break;
    case FT_DOUBLE:
        k.number = v->d;
        break;
    case FT_BOOL:
        k.number = v->b;
        break;
    case FT_TIME:
        k.number = (double)v->t.us;
        break;
    default:
        k.number = (double)v->i;
    }
    return k;
}

static Known arithmetic(const Obj *o, const SearchArith *a)
{
    if (!a->op)
        return a->field >= 0 ? row_value(o, a->field) : (Known){.number = a->number};
    Known l = arithmetic(o, a->a);
    Known r = arithmetic(o, a->b);
    Known k = {.null = l.null || r.null || (r.number == 0 && (a->op == '/' || a->op == '%'))};
    if (k.null)
        return k;
    switch (a->op) {
    case '+':
        k.number = l.number + r.number;
        break;
    case '-':
        k.number = l.number - r.number;
        break;
    case '*':
        k.number = l.number * r.number;
        break;
    case '/':
        k.number = (double)((int64_t)l.number / (int64_t)r.number);
        break;
    default:
        k.number = (double)((int64_t)l.number % (int64_t)r.number);
    }
    return k;
}

static Known literal_value(const Kind *kind, const SearchExpr *e, size_t i)
{
    const SearchLiteral *l = &e->lits[i];
    WallUsec t;
    switch (kind->fields[e->left.field].type) {
    case FT_STRING:
    case FT_JSON_TEXT:
        return (Known){.text = l->text};
    case FT_BOOL:
        return (Known){.number = strcmp(l->text, "true") == 0};
    case FT_TIME:
        assert_int_equal(rfc3339_parse(str_from(l->text), &t), 0);
        return (Known){.number = (double)t.us};
    default:
        return (Known){.number = l->number};
    }
}

static int order_of(Known a, Known b)
{
    if (a.text)
        return strcmp(a.text, b.text);
    return (a.number > b.number) - (a.number < b.number);
}

static int negate(int v)
{
    return v == UNKNOWN ? UNKNOWN : !v;
}

static int both(int a, int b)
{
    if (a == NO || b == NO)
        return NO;
    return a == UNKNOWN || b == UNKNOWN ? UNKNOWN : YES;
}

static int in_list(const Obj *o, const SearchExpr *e, Known left)
{
    for (size_t i = 0; i < e->n_lits; i++) {
        if (!left.null && order_of(left, literal_value(o->kind, e, i)) == 0)
            return YES;
    }
    return left.null && e->n_lits ? UNKNOWN : NO;
}

static int naive_test(const Obj *o, const SearchExpr *e)
{
    Known left = e->left.arith ? arithmetic(o, e->left.arith) : row_value(o, e->left.field);
    if (e->op == S_IS_NULL)
        return left.null;
    if (e->op == S_IN)
        return in_list(o, e, left);
    if (left.null)
        return UNKNOWN;
    if (e->op == S_LIKE || e->op == S_ILIKE)
        return like_of(left.text, e->lits[0].text, e->op == S_ILIKE);
    int c = order_of(left, literal_value(o->kind, e, 0));
    switch (e->op) {
    case S_EQ:
        return c == 0;
    case S_NE:
        return c != 0;
    case S_LT:
        return c < 0;
    case S_LE:
        return c <= 0;
    case S_GT:
        return c > 0;
    case S_GE:
        return c >= 0;
    case S_BETWEEN:
        return c >= 0 && order_of(left, literal_value(o->kind, e, 1)) <= 0;
    default:
        fail_msg("operator %d", e->op);
        return NO;
    }
}

static int naive(const Obj *o, const SearchExpr *e)
{
    if (e->op == S_TRUE || e->op == S_FALSE)
        return e->op == S_TRUE;
    if (e->op == S_AND)
        return both(naive(o, e->a), naive(o, e->b));
    if (e->op == S_OR)
        return negate(both(negate(naive(o, e->a)), negate(naive(o, e->b))));
    if (e->op == S_NOT)
        return negate(naive(o, e->a));
    int v = naive_test(o, e);
    return e->negated ? negate(v) : v;
}

/* ---- random rows and random searches ---- */

static const char *const names[] = {"",     "alpha",        "Alpha",        "a%b",   "a_b",
                                    "a\\b", "\xc3\x89mile", "\xc3\xa9mile", "zz top"};
static const char *const phases[] = {"Pending", "Running", "Stopped"};
static const char *const times[] = {"2026-04-01T00:00:00Z", "2026-04-01T02:00:00.5+02:00",
                                    "1969-12-31T23:59:59Z"};
static const char *const patterns[] = {"%",         "a%",    "%a", "_lpha", "%\\%%", "a\\_b", "A%A",
                                       "\xc3\x89%", "%MILE", "",   "%z%z%", "_",     "a\\\\b"};

#define PICK(list) (list)[test_random(seed) % ARRAY_LEN(list)]

static Obj *random_row(uint64_t *seed)
{
    WallUsec t;
    Obj *o = obj_new(&kind_session);
    obj_set_str(o, SESSION_NAME, str_from(PICK(names)));
    if (test_random(seed) % 3)
        obj_set_str(o, SESSION_PHASE, str_from(PICK(phases)));
    if (test_random(seed) % 3)
        obj_set_int(o, SESSION_TIMEOUT, (int64_t)(test_random(seed) % 5) - 2);
    if (test_random(seed) % 3)
        obj_set_double(o, SESSION_LLM_TEMPERATURE, (test_random(seed) % 4) / 2.0);
    if (test_random(seed) % 3)
        obj_set_bool(o, SESSION_INTERACTIVE, test_random(seed) % 2);
    if (test_random(seed) % 3) {
        assert_int_equal(rfc3339_parse(str_from(PICK(times)), &t), 0);
        obj_set_time(o, SESSION_START_TIME, t);
    }
    return o;
}

static const struct {
    const char *name;
    bool text;
} columns[] = {
    {"name", true},         {"phase", true},       {"timeout", false}, {"llm_temperature", false},
    {"interactive", false}, {"start_time", false},
};

static void add_literal(Buf *b, size_t column, uint64_t *seed)
{
    switch (column) {
    case 0:
        buf_addf(b, "'%s'", PICK(names));
        break;
    case 1:
        buf_addf(b, "'%s'", PICK(phases));
        break;
    case 2:
        buf_addf(b, "%d", (int)(test_random(seed) % 5) - 2);
        break;
    case 3:
        buf_addf(b, "%.1f", (test_random(seed) % 4) / 2.0);
        break;
    case 4:
        buf_addz(b, test_random(seed) % 2 ? "'true'" : "'false'");
        break;
    default:
        buf_addf(b, "'%s'", PICK(times));
    }
}

static void add_list(Buf *b, size_t column, uint64_t *seed)
{
    size_t n = test_random(seed) % 4;
    buf_addc(b, '(');
    for (size_t i = 0; i < n; i++) {
        buf_addz(b, i ? ", " : "");
        add_literal(b, column, seed);
    }
    buf_addc(b, ')');
}

static void add_test(Buf *b, uint64_t *seed)
{
    static const char *const ops[] = {"=", "!=", "<", "<=", ">", ">="};
    size_t column = test_random(seed) % ARRAY_LEN(columns);
    const char *not = test_random(seed) % 2 ? "not " : "";
    buf_addf(b, "%s ", columns[column].name);
    switch (test_random(seed) % 5) {
    case 0:
        buf_addf(b, "is %snull", not );
        return;
    case 1:
        buf_addf(b, "%sin ", not );
        add_list(b, column, seed);
        return;
    case 2:
        if (columns[column].text) {
            buf_addf(b, "%s%s '%s'", not, test_random(seed) % 2 ? "like" : "ilike", PICK(patterns));
            return;
        }
        buf_addf(b, "%sbetween ", not );
        add_literal(b, column, seed);
        buf_addz(b, " and ");
        break;
    default:
        buf_addf(b, "%s ", column == 4 ? ops[test_random(seed) % 2] : PICK(ops));
    }
    add_literal(b, column, seed);
}

static void add_expr(Buf *b, unsigned depth, uint64_t *seed)
{
    unsigned kind = depth ? test_random(seed) % 4 : 3;
    if (kind == 3) {
        add_test(b, seed);
        return;
    }
    buf_addz(b, kind == 2 ? "not (" : "(");
    add_expr(b, depth - 1, seed);
    buf_addz(b, kind == 2 ? "" : kind ? ") or (" : ") and (");
    if (kind != 2)
        add_expr(b, depth - 1, seed);
    buf_addc(b, ')');
}

typedef struct Search {
    const SearchExpr *where;
    ObjList out;
} Search;

static int search_job(Tx *tx, void *arg, Err *err)
{
    Search *s = arg;
    return tx_list(tx, &kind_session, &(ListQuery){.where = s->where, .limit = -1}, &s->out, err);
}

static void compare(Fixture *f, Obj *const *rows, const char *text)
{
    Err err = {0};
    CLEANUP(search_freep) SearchExpr *e = NULL;
    if (search_parse(&kind_session, str_from(text), &e, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    Search s = {.where = e};
    if (run_job(f, STORE_READ, search_job, &s, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    CLEANUP(map_freep) Map *found = map_new();
    for (size_t i = 0; i < s.out.len; i++)
        map_put(found, obj_str(s.out.ptr[i], FIELD_ID), e);
    for (size_t i = 0; i < ROWS; i++) {
        bool want = naive(rows[i], e) == YES;
        if (map_has(found, obj_str(rows[i], FIELD_ID)) != want)
            fail_msg("%s: row named '%s' should %sbe found", text, obj_cstr(rows[i], SESSION_NAME),
                     want ? "" : "not ");
    }
    obj_list_done(&s.out);
}

static void test_search__finds_what_a_naive_reading_finds(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    uint64_t seed = 1;
    Obj *rows[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        rows[i] = random_row(&seed);
        assert_ok(insert_object(f, rows[i], &err), &err);
    }
    for (int i = 0; i < SEARCHES; i++) {
        CLEANUP_BUF Buf text = BUF_INIT(65536);
        add_expr(&text, test_random(&seed) % 4, &seed);
        compare(f, rows, text.data);
    }
    compare(f, rows, "timeout + 1 = 2 or timeout * 2 < 0 or timeout % 2 = 1");
    compare(f, rows, "not (timeout / 2 - 1 between -1 and 0)");
    compare(f, rows, "timeout % 0 = 1 or timeout * timeout - 3 in (1, -2)");
    for (size_t i = 0; i < ROWS; i++)
        obj_free(rows[i]);
}

static void test_search__long_chains(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    free(new_session(f, "name-7"));
    for (int op = 0; op < 2; op++) {
        CLEANUP_BUF Buf text = BUF_INIT(1 << 20);
        for (int i = 0; i < TERMS; i++)
            buf_addf(&text, "%sname %s 'name-%d'",
                     !i   ? ""
                     : op ? " and "
                          : " or ",
                     op ? "!=" : "=", op ? i + 100 : i);
        CLEANUP(search_freep) SearchExpr *e = NULL;
        assert_ok(search_parse(&kind_session, buf_str(&text), &e, &err), &err);
        Search s = {.where = e};
        assert_ok(run_job(f, STORE_READ, search_job, &s, &err), &err);
        assert_int_equal(s.out.len, 1);
        obj_list_done(&s.out);
    }
}

static void test_search__bad_patterns_are_the_callers_fault(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_session);
    char *name = xmalloc(60001);
    memset(name, 'a', 60000);
    name[60000] = '\0';
    obj_set_str(o, SESSION_NAME, str_from(name));
    assert_ok(insert_object(f, o, &err), &err);
    free(name);

    CLEANUP_BUF Buf slow = BUF_INIT(1 << 20);
    buf_addz(&slow, "name like '%");
    for (int i = 0; i < 2000; i++)
        buf_addz(&slow, i % 2 ? "_" : "a");
    buf_addz(&slow, "b'");
    const char *const cases[] = {"name like 'x\\'", slow.data};
    size_t n = on_postgres() ? 1 : ARRAY_LEN(cases); /* which counts time, not steps */
    for (size_t i = 0; i < n; i++) {
        CLEANUP(search_freep) SearchExpr *e = NULL;
        assert_ok(search_parse(&kind_session, str_from(cases[i]), &e, &err), &err);
        Search s = {.where = e};
        assert_int_equal(run_job(f, STORE_READ, search_job, &s, &err), -ERR_BAD_REQUEST);
    }
}

static void test_search__takes_no_longer_than_it_may(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    f->options.read_limit = 500 * USEC_PER_MSEC;
    fixture_reopen(f);
    CLEANUP_FREE char *name = xmalloc(60001);
    memset(name, 'a', 60000);
    name[60000] = '\0';
    for (int i = 0; i < 40; i++) {
        CLEANUP(obj_freep) Obj *o = obj_new(&kind_session);
        obj_set_str(o, SESSION_NAME, str_from(name));
        assert_ok(insert_object(f, o, &err), &err);
    }
    CLEANUP_BUF Buf slow = BUF_INIT(1 << 20);
    for (int term = 0; term < 40; term++) {
        buf_addz(&slow, term ? " or name like '%" : "name like '%");
        for (int i = 0; i < 140; i++)
            buf_addc(&slow, 'a');
        buf_addf(&slow, "b%d'", term); /* terms that are the same would be looked at once */
    }
    CLEANUP(search_freep) SearchExpr *e = NULL;
    assert_ok(search_parse(&kind_session, buf_str(&slow), &e, &err), &err);
    Search s = {.where = e};
    assert_int_equal(run_job(f, STORE_READ, search_job, &s, &err), -ERR_DEADLINE);
    Search all = {0};
    assert_ok(run_job(f, STORE_READ, search_job, &all, &err), &err); /* the reader lives on */
    assert_int_equal(all.out.len, 40);
    obj_list_done(&all.out);
}

/* ---- labels ---- */

/* Names of the sessions that a selector finds, in order, each followed by a blank. */
static void labelled(Fixture *f, const char *selector, Buf *found)
{
    Err err = {0};
    CLEANUP(search_freep) SearchExpr *e = NULL;
    assert_ok(label_selector_parse(&kind_session, str_from(selector), &e, &err), &err);
    Search s = {.where = e};
    assert_ok(run_job(f, STORE_READ, search_job, &s, &err), &err);
    for (size_t i = 0; i < s.out.len; i++)
        buf_addf(found, "%s ", obj_cstr(s.out.ptr[i], SESSION_NAME));
    obj_list_done(&s.out);
}

/* What a client stored as labels need not be an object of texts, nor JSON at all: then it has none. */
static void test_search__labels(void **state)
{
    static const char *const rows[][2] = {
        {"a", "{\"app\":\"x\",\"t.io/n\":\"1\"}"},
        {"b", "{\"app\":\"y\",\"e\":\"\"}"},
        {"c", "{}"},
        {"d", NULL},
        {"e", "{\"app"},
        {"f", "[\"app\"]"},
        {"g", "{\"app\":5}"},
    };
    static const char *const cases[][2] = {
        {"app=x", "a "},
        {"app in (x,y)", "a b "},
        {"app!=x", "b c d e f g "},
        {"app notin (x,y)", "c d e f g "},
        {"app", "a b "},
        {"!app", "c d e f g "},
        {"t.io/n=1", "a "},
        {"e=", "b "},
        {"app,e notin (z)", "a b "},
        {"app=5", ""},
    };
    Fixture *f = *state;
    Err err = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(obj_freep) Obj *o = obj_new(&kind_session);
        obj_set_str(o, SESSION_NAME, str_from(rows[i][0]));
        obj_set_time(o, FIELD_CREATED_AT, (WallUsec){(int64_t)i + 1});
        if (rows[i][1])
            obj_set_str(o, SESSION_LABELS, str_from(rows[i][1]));
        assert_ok(insert_object(f, o, &err), &err);
    }
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_BUF Buf found = BUF_INIT(1024);
        labelled(f, cases[i][0], &found);
        assert_string_equal(found.data ? found.data : "", cases[i][1]);
    }
}

int run_search_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_search__finds_what_a_naive_reading_finds),
        TEST(test_search__long_chains),
        TEST(test_search__bad_patterns_are_the_callers_fault),
        TEST(test_search__takes_no_longer_than_it_may),
        TEST(test_search__labels),
    };
    return cmocka_run_group_tests_name("store search", tests, NULL, NULL);
}
