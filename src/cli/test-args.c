/* The command engine on a small table of its own. */
#include "command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "options.h"

static int run_nothing(App *app, const Args *a, Err *err)
{
    return 0;
}

static const Opt opts[] = {
    OPT("output", STR, "format", .letter = 'o', .values = "table json"),
    OPT("all", BOOL, "all", .letter = 'A'),
    OPT("yes", BOOL, "yes", .letter = 'y'),
    OPT("limit", INT, "limit", .dflt = "7"),
    OPT("wait", DURATION, "wait", .dflt = "30m"),
    OPT("env", LIST, "env"),
    OPT("project-id", STR, "project", .values = "PROJECT"),
    OPT_ALIAS("project", "project-id"),
    {0},
};
const Opt root_opts[] = {OPT("api-url", STR, "address"), OPT("version", BOOL, NULL, .letter = 'v'), {0}};
static const Command verbs[] = {
    {.words = "get",
     .usage = "KIND [NAME]",
     .min = 1,
     .max = 2,
     .help = "get",
     .opts = opts,
     .run = run_nothing},
    {.words = "agent", .aliases = "agents", .usage = "", .help = "agents"},
    {.words = "agent list", .aliases = "ls", .usage = "", .help = "list", .opts = opts, .run = run_nothing},
    {.words = "agent start", .usage = "[NAME]", .max = 1, .help = "start", .opts = opts, .run = run_nothing},
    {0},
};
static const Command others[] = {
    {.words = "project", .usage = "[NAME]", .max = 1, .help = "project", .run = run_nothing},
    {.words = "project set", .usage = "NAME", .min = 1, .max = 1, .help = "set", .run = run_nothing},
    {.words = "run",
     .usage = "A B...",
     .min = 2,
     .max = COMMAND_MANY,
     .help = "run",
     .opts = opts,
     .run = run_nothing,
     .text = "More words.",
     .examples = "# why\nrun x y",
     .exits = "9 nine"},
    {0},
};
const Command *const command_tables[] = {verbs, others, NULL};
const ExitStatus exit_statuses[] = {{0, "done"}, {2, "wrong usage"}, {0}};

#define ARGV_MAX 12
typedef struct Case {
    const char *argv[ARGV_MAX];
    const char *words; /* of the command found */
    const char *args;  /* joined by '|' */
    const char *error;
} Case;

static int parse(const char *const *words, const Command **cmd, Args **a, Err *err)
{
    char *argv[ARGV_MAX + 1] = {(char *)(uintptr_t) "acpctl"};
    int argc = 1;
    while (argc <= ARGV_MAX && words[argc - 1]) {
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
        argc++;
    }
    return args_parse(argc, argv, cmd, a, err);
}

static void join(const Args *a, char out[256])
{
    out[0] = '\0';
    for (size_t i = 0; i < args_len(a); i++)
        snprintf(out + strlen(out), 256 - strlen(out), "%s%s", i ? "|" : "", arg_at(a, i));
}

static const Case cases[] = {
    {{"get", "sessions"}, "get", "sessions", NULL},
    {{"get", "sessions", "x", "-o", "json"}, "get", "sessions|x", NULL},
    {{"-ojson", "get", "sessions"}, NULL, NULL, "unknown shorthand flag: 'o' in -ojson"},
    {{"--api-url", "http://h", "get", "sessions"}, "get", "sessions", NULL},
    {{"agents", "ls"}, "agent list", "", NULL},
    {{"agent", "lst"},
     NULL,
     NULL,
     "unknown command \"lst\" for \"acpctl agent\"\n\nDid you mean this?\n\tlist"},
    {{"gte", "x"}, NULL, NULL, "unknown command \"gte\" for \"acpctl\"\n\nDid you mean this?\n\tget"},
    {{"agent", "list", "extra"}, NULL, NULL, "unknown command \"extra\" for \"acpctl agent list\""},
    {{"get"}, NULL, NULL, "accepts between 1 and 2 arg(s), received 0"},
    {{"get", "a", "b", "c"}, NULL, NULL, "accepts between 1 and 2 arg(s), received 3"},
    {{"run", "a"}, NULL, NULL, "requires at least 2 arg(s), only received 1"},
    {{"project", "set"}, NULL, NULL, "accepts 1 arg(s), received 0"},
    {{"project", "demo"}, "project", "demo", NULL},
    {{"project", "set", "demo"}, "project set", "demo", NULL},
    {{"agent", "start", "a", "b"}, NULL, NULL, "accepts at most 1 arg(s), received 2"},
    {{"get", "x", "--nope"}, NULL, NULL, "unknown flag: --nope"},
    {{"get", "x", "-oyaml", "-Q"}, NULL, NULL, "unknown shorthand flag: 'Q' in -Q"},
    {{"get", "x", "--output"}, NULL, NULL, "flag needs an argument: --output"},
    {{"get", "x", "-o"}, NULL, NULL, "flag needs an argument: 'o' in -o"},
    {{"get", "x", "--limit", "many"},
     NULL,
     NULL,
     "invalid argument \"many\" for \"--limit\" flag: not a whole number"},
    {{"get", "x", "--wait=soon"},
     NULL,
     NULL,
     "invalid argument \"soon\" for \"--wait\" flag: not a duration (45s, 1h30m)"},
    {{"get", "x", "--all=perhaps"},
     NULL,
     NULL,
     "invalid argument \"perhaps\" for \"--all\" flag: not true or false"},
    {{"get", "--", "--limit"}, "get", "--limit", NULL},
    {{"get", "-"}, "get", "-", NULL},
};

static void test_args__table(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const Case *c = &cases[i];
        Err err = {0};
        const Command *cmd = NULL;
        CLEANUP(args_freep) Args *a = NULL;
        int rc = parse(c->argv, &cmd, &a, &err);
        if (c->error) {
            assert_true(rc < 0);
            assert_string_equal(err.msg, c->error);
            assert_int_equal(err.code, ERR_USAGE);
            continue;
        }
        if (rc < 0)
            fail_msg("case %zu: %s", i, err.msg);
        char joined[256];
        join(a, joined);
        assert_string_equal(cmd->words, c->words);
        assert_string_equal(joined, c->args);
    }
}

static void test_args__values_and_defaults(void **state)
{
    const char *words[] = {"get",   "x",   "-Ay",       "--limit=3", "--limit", "4",
                           "--env", "A=1", "--env=B=2", "--project", "p",       NULL};
    Err err = {0};
    const Command *cmd = NULL;
    CLEANUP(args_freep) Args *a = NULL;
    assert_int_equal(parse(words, &cmd, &a, &err), 0);
    assert_true(opt_bool(a, "all"));
    assert_true(opt_bool(a, "yes"));
    assert_int_equal(opt_int(a, "limit"), 4); /* the last one counts */
    assert_int_equal(opt_duration(a, "wait"), 30 * 60 * USEC_PER_SEC);
    assert_false(opt_given(a, "wait"));
    assert_string_equal(opt_str(a, "project-id"), "p"); /* by its other name */
    const char *const *env;
    assert_int_equal(opt_list(a, "env", &env), 2);
    assert_string_equal(env[0], "A=1");
    assert_string_equal(env[1], "B=2");
    assert_null(opt_str(a, "output"));
}

static void test_args__a_switch_can_be_put_off(void **state)
{
    const char *words[] = {"get", "x", "--all", "--all=false", NULL};
    const Command *cmd = NULL;
    CLEANUP(args_freep) Args *a = NULL;
    assert_int_equal(parse(words, &cmd, &a, NULL), 0);
    assert_false(opt_bool(a, "all"));
}

static void complete(const char *a, const char *b, char out[512])
{
    const char *words[] = {a, b};
    FILE *f = fmemopen(out, 512, "w");
    command_complete(b ? 2 : 1, (char **)(uintptr_t)words, f, NULL);
    fclose(f);
}

static void test_complete__commands_and_options(void **state)
{
    char out[512] = "";
    complete("a", NULL, out);
    assert_string_equal(out, "agent\n");
    complete("agent", "", out);
    assert_string_equal(out, "list\nstart\n");
    complete("get", "--li", out);
    assert_string_equal(out, "--limit\n");
}

static void show_type(const Completion *c)
{
    fprintf(c->out, "%s/%s", c->type, c->prefix);
    for (size_t i = 0; i < c->n_words; i++)
        fprintf(c->out, "/%s", c->words[i]);
    fprintf(c->out, "%s%s\n", c->project ? " in " : "", c->project ? c->project : "");
}

static void test_complete__values(void **state)
{
    static const struct {
        const char *words[8], *want;
    } lines[] = {
        {{"get", ""}, "KIND/\n"},
        {{"get", "agents", "le"}, "NAME/le/agents\n"},
        {{"get", "--limit", "3", "agents", "le"}, "NAME/le/agents\n"},
        {{"get", "agents", "--project=p1", ""}, "NAME//agents in p1\n"},
        {{"get", "agents", "--project-id", "p1", ""}, "NAME//agents in p1\n"},
        {{"get", "agents", "a", ""}, ""},
        {{"run", "x", "y", "z", ""}, "B//x/y/z\n"},
        {{"get", "-o", "js"}, "json\n"},
        {{"get", "--output=t"}, "--output=table\n"},
        {{"get", "--project-id", ""}, "PROJECT/\n"},
        {{"agents", "st"}, "start\n"},
        {{"frob", ""}, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        char out[512] = "";
        int n = 0;
        while (lines[i].words[n])
            n++;
        FILE *f = fmemopen(out, sizeof(out), "w");
        command_complete(n, (char **)(uintptr_t)lines[i].words, f, show_type);
        fclose(f);
        assert_string_equal(out, lines[i].want);
    }
}

static void test_help__has_all_parts(void **state)
{
    char out[2048] = "";
    FILE *f = fmemopen(out, sizeof(out), "w");
    command_help(command_find("run"), f);
    fclose(f);
    static const char *const parts[] = {"run\n\nMore words.\n\nUsage: acpctl run A B... [flags]\n",
                                        "Flags:\n", "Global flags:\n",
                                        "Examples:\n  # why\n  acpctl run x y\n", "Exit status:\n  9 nine\n"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        assert_non_null(strstr(out, parts[i]));
    f = fmemopen(out, sizeof(out), "w");
    command_help(NULL, f);
    fclose(f);
    assert_non_null(strstr(out, "Exit status:\n  0     done\n  2     wrong usage\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_args__table),
        cmocka_unit_test(test_args__values_and_defaults),
        cmocka_unit_test(test_args__a_switch_can_be_put_off),
        cmocka_unit_test(test_complete__commands_and_options),
        cmocka_unit_test(test_complete__values),
        cmocka_unit_test(test_help__has_all_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
