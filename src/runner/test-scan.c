#include "test-internal.h"

#include <stdio.h>
#include "scan.h"

/* A log in short: uN user message, sN run_started about message N, eN its end (run_finished), xN its error, t
   tool_use, a assistant; S, E, X without a number: records of other runners that name no message; iN
   run_interrupted. */
static void feed(Scan *s, const char *log)
{
    Str rest = str_from(log);
    uint64_t seq = 0;

    while (rest.ptr) {
        Str word = str_cut(&rest, ' ');
        char payload[96];
        uint64_t n = 0;
        if (word.len == 0)
            continue;
        seq++;
        str_to_u64(str_slice(word, 1, word.len), &n);
        switch (word.ptr[0]) {
        case 'u':
            seq = n;
            snprintf(payload, sizeof(payload), "do %u", (unsigned)n);
            scan_message(s, seq, STR("user"), str_from(payload));
            break;
        case 's':
            snprintf(payload, sizeof(payload), "{\"event\":\"run_started\",\"seq\":%u}", (unsigned)n);
            scan_message(s, seq, STR("lifecycle"), str_from(payload));
            break;
        case 'e':
            snprintf(payload, sizeof(payload), "{\"event\":\"run_finished\",\"seq\":%u}", (unsigned)n);
            scan_message(s, seq, STR("lifecycle"), str_from(payload));
            break;
        case 'i':
            snprintf(payload, sizeof(payload), "{\"event\":\"run_interrupted\",\"seq\":%u}", (unsigned)n);
            scan_message(s, seq, STR("lifecycle"), str_from(payload));
            break;
        case 'x':
            snprintf(payload, sizeof(payload), "{\"error\":\"e\",\"seq\":%u}", (unsigned)n);
            scan_message(s, seq, STR("error"), str_from(payload));
            break;
        case 'S':
            scan_message(s, seq, STR("lifecycle"), STR("{\"event\":\"run_started\"}"));
            break;
        case 'E':
            scan_message(s, seq, STR("lifecycle"), STR("{\"event\":\"run_finished\"}"));
            break;
        case 'X':
            scan_message(s, seq, STR("error"), STR("plain words"));
            break;
        case 't':
            scan_message(s, seq, STR("tool_use"), STR("{}"));
            break;
        default:
            scan_message(s, seq, STR("assistant"), STR("words"));
        }
    }
}

/* What is left: its number, "+" per turn that began for it, "t" when a tool was used. */
static void describe(Scan *s, Buf *out)
{
    ScanEntry *e;

    while ((e = scan_pop(s))) {
        buf_addf(out, "%s%u", out->len ? " " : "", (unsigned)e->seq);
        for (unsigned i = 0; i < e->starts; i++)
            buf_addc(out, '+');
        buf_addz(out, e->tool_used ? "t" : "");
        scan_entry_free(e);
    }
}

static void test_scan__what_is_left_to_do(void **state)
{
    static const struct {
        const char *log;
        uint64_t handled, skip;
        const char *left;
    } cases[] = {
        {"", 0, 0, ""},
        {"u1", 0, 0, "1"},
        {"u1 s1 a e1", 0, 0, ""},
        {"u1 s1 x1", 0, 0, ""},
        {"u1 s1 i1", 0, 0, ""},
        {"u1 u2 s1 e1", 0, 0, "2"}, /* the second waited while the first ran */
        {"u1 u2 s1 e1 s2 e2", 0, 0, ""},
        {"u1 s1 u5 e1", 0, 0, "5"},
        {"u1 s1", 0, 0, "1+"}, /* died in the middle */
        {"u1 s1 a t", 0, 0, "1+t"},
        {"u1 s1 s1 t s1", 0, 0, "1+++t"}, /* and again */
        {"u1 s1 t e1 u6", 0, 0, "6"},
        {"u1 s0 t e0", 0, 0, "1"}, /* a turn that no message began */
        {"u1 s0 x0", 0, 0, "1"},
        {"u1 x0", 0, 0, "1"}, /* no agent was found: the message still waits */
        {"u1", 1, 0, "1+"},   /* begun, though the record of it was lost */
        {"u1 u2 u3", 2, 0, "1+ 2+ 3"},
        {"u1 u2 u3", 0, 2, "3"},
        {"u1 s1 t u7", 0, 1, "7"},
        /* other runners: strictly in order, no numbers */
        {"u1 S a E", 0, 0, ""},
        {"u1 u2 S a E", 0, 0, "2"},
        {"u1 S a", 0, 0, "1+"},
        {"u1 S S a E", 0, 0, ""}, /* restarted, and ran it again */
        {"u1 X", 0, 0, ""},       /* a listener failure */
        {"u1 u2 E", 0, 0, "1 2"}, /* the end of what we did not see begin */
        {"u1 S X E u6", 0, 0, "6"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_BUF Buf left = BUF_INIT(256);
        Scan s;
        scan_init(&s);
        feed(&s, cases[i].log);
        scan_finish(&s, cases[i].handled, cases[i].skip);
        describe(&s, &left);
        if (!str_eqz(buf_str(&left), cases[i].left))
            fail_msg("\"%s\": left \"%s\", not \"%s\"", cases[i].log, left.data ? left.data : "",
                     cases[i].left);
        scan_done(&s);
    }
}

static void test_scan__nonsense_changes_nothing(void **state)
{
    static const struct {
        const char *type, *payload;
    } cases[] = {
        {"lifecycle", "{\"event\":\"run_finished\",\"seq\":99}"},
        {"lifecycle", "{\"event\":\"run_finished\",\"seq\":-1}"},
        {"lifecycle", "{\"event\":7}"},
        {"lifecycle", "not json"},
        {"lifecycle", "[]"},
        {"RUN_FINISHED", "{}"},
        {"user", "  \n "},
        {"error", "{\"seq\":99}"},
    };
    Scan s;
    CLEANUP_BUF Buf left = BUF_INIT(64);

    scan_init(&s);
    feed(&s, "u1 s1");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        scan_message(&s, 10 + i, str_from(cases[i].type), str_from(cases[i].payload));
    assert_int_equal(s.users, 1);
    assert_string_equal(s.first_user, "do 1");
    describe(&s, &left);
    assert_string_equal(left.data, "1+");
    scan_done(&s);
}

int run_scan_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan__what_is_left_to_do),
        cmocka_unit_test(test_scan__nonsense_changes_nothing),
    };
    return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
