/* Pieces of an answer and the stored whole, in every order: each text is shown once. */
#include "live.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

/* "s1" start of message 1, "p1:text" piece, "e1" end, "S:text" stored. What a person sees comes out, "|"
   before a whole message. */
static void play(const char *const *steps, char out[512])
{
    Live *l = live_new();
    CLEANUP_BUF Buf b = BUF_INIT(512);
    for (; *steps; steps++) {
        Str text = str_from(*steps), head = str_cut(&text, ':'), id = str_slice(head, 1, head.len);
        bool begun;
        if (head.ptr[0] == 's')
            live_start(l, id, &b);
        else if (head.ptr[0] == 'p')
            live_piece(l, id, text, &b);
        else if (head.ptr[0] == 'e')
            live_end(l, id, &b);
        else {
            live_stored(l, text, &text, &begun);
            buf_addf(&b, "%s" STR_FMT, text.ptr && !begun ? "|" : "", STR_ARG(text));
        }
    }
    snprintf(out, 512, STR_FMT, STR_ARG(buf_str(&b)));
    live_free(l);
}

#define STEPS_MAX 12
static const struct {
    const char *steps[STEPS_MAX], *shown;
} cases[] = {
    {{"s1", "p1:Hel", "p1:lo", "e1", "S:Hello"}, "Hello"},
    {{"s1", "p1:Hel", "S:Hello", "p1:lo", "e1"}, "Hello"},
    {{"S:Hello", "s1", "p1:Hel", "p1:lo", "e1"}, "|Hello"},
    {{"S:Hello", "s1", "p1:Help", "e1", "S:Help"}, "|HelloHelp"},
    {{"p1:lost", "p1:more", "e1", "S:lostmore"}, "|lostmore"},
    {{"s1", "p1:a", "e1", "s2", "p2:b", "e2", "S:a", "S:b"}, "ab"},
    {{"s1", "p1:a", "e1", "s2", "p2:b", "S:a", "S:bc", "p2:c", "e2"}, "abc"},
    {{"s1", "p1:a", "e1", "S:a", "S:a"}, "a|a"},
    {{"s1", "p1:\n\n x", "p1: y\n", "e1", "S:x y"}, "x y\n"},
    {{"s1", "p1:gone", "s2", "p2:next", "e2", "S:next"}, "gonenext"},
    {{"s1", "e1", "S:whole"}, "|whole"},
    {{"S:a", "S:b", "s2", "p2:b", "e2", "s3", "p3:c", "e3", "S:c"}, "|a|bc"},
};

static void test_live__each_text_is_shown_once(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[512];
        play(cases[i].steps, out);
        if (strcmp(out, cases[i].shown) != 0)
            fail_msg("case %zu: \"%s\" instead of \"%s\"", i, out, cases[i].shown);
    }
}

/* What never comes from the other side does not pile up. */
static void test_live__remembers_only_so_many(void **state)
{
    Live *l = live_new();
    for (unsigned i = 0; i < 1000; i++) {
        char text[16];
        Str rest;
        bool begun;
        snprintf(text, sizeof(text), "m%u", i);
        live_stored(l, str_from(text), &rest, &begun);
        assert_true(rest.ptr && !begun);
    }
    CLEANUP_BUF Buf b = BUF_INIT(512);
    live_start(l, STR("x"), &b);
    live_piece(l, STR("x"), STR("m0"), &b);
    assert_string_equal(b.data, "m0"); /* long forgotten: taken for a new one */
    live_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_live__each_text_is_shown_once),
        cmocka_unit_test(test_live__remembers_only_so_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
