/* The program's own tables: every row has what help, completion, manuals and the reference are made from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ctype.h>
#include <string.h>
#include "cmd.h"

static void check_opts(const char *words, const Opt *table)
{
    for (const Opt *o = table; o && o->name; o++) {
        for (const Opt *p = table; p < o; p++) {
            if (strcmp(p->name, o->name) == 0 || (o->letter && p->letter == o->letter))
                fail_msg("%s: --%s is there twice", words, o->name);
        }
        bool aliased = false;
        for (const Opt *p = table; o->alias_of && p->name; p++)
            aliased = aliased || strcmp(p->name, o->alias_of) == 0;
        if (o->alias_of ? !aliased : !o->help)
            fail_msg("%s: --%s has neither help nor an option that it stands for", words, o->name);
        if (o->help && (!*o->help || o->help[strlen(o->help) - 1] == '.'))
            fail_msg("%s: --%s: a help is a few words without a full stop", words, o->name);
    }
}

static void check_examples(const Command *c)
{
    Str rest = str_from(c->examples);
    bool any = false;
    while (rest.ptr) {
        Str line = str_cut(&rest, '\n');
        any = any || str_starts(line, str_from(c->words));
    }
    if (!any)
        fail_msg("%s: no example begins with the command's words", c->words);
}

static void check_exits(const Command *c)
{
    Str rest = str_from(c->exits);
    while (rest.ptr) {
        Str line = str_cut(&rest, '\n');
        if (!line.len || !isdigit((unsigned char)line.ptr[0]) || str_find_byte(line, ' ') < 0)
            fail_msg("%s: an exit status is a number and its meaning", c->words);
    }
}

static void test_commands__rows_are_complete(void **state)
{
    COMMAND_FOREACH(c)
    {
        if (!c->help)
            continue; /* hidden */
        if (!c->usage || c->min > c->max)
            fail_msg("%s: usage or number of arguments", c->words);
        check_opts(c->words, c->opts);
        if (c->run)
            check_examples(c);
        check_exits(c);
    }
}

/* A group stands before its commands: finding walks the words one by one. */
static void test_commands__have_their_group(void **state)
{
    COMMAND_FOREACH(c)
    {
        char group[64];
        snprintf(group, sizeof(group), "%s", c->words);
        char *space = strrchr(group, ' ');
        if (!space)
            continue;
        *space = '\0';
        const Command *g = command_find(group);
        if (!g)
            fail_msg("%s: there is no row \"%s\"", c->words, group);
    }
}

static void test_commands__words_are_there_once(void **state)
{
    COMMAND_FOREACH(c)
    {
        if (command_find(c->words) != c)
            fail_msg("\"%s\" is there twice", c->words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands__rows_are_complete),
        cmocka_unit_test(test_commands__have_their_group),
        cmocka_unit_test(test_commands__words_are_there_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
