#include "base/flag.h"

#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "flag-internal.h"
#include "test-internal.h"

typedef struct Options {
    char *address, *mode;
    bool verbose, quick;
    int64_t count, size;
    Usec wait;
    Secret *token;
} Options;

static const Flag table[] = {
    {"address", "TB_ADDRESS", FLAG_STRING, offsetof(Options, address), "localhost", "Where to listen",
     "HOST"},
    {"mode", NULL, FLAG_STRING, offsetof(Options, mode), NULL, "How to work", NULL},
    {"verbose", "TB_VERBOSE", FLAG_BOOL, offsetof(Options, verbose), NULL, "Say more", NULL},
    {"quick", NULL, FLAG_BOOL, offsetof(Options, quick), "true", "Be quick", NULL},
    {"count", "TB_COUNT", FLAG_INT, offsetof(Options, count), "5", "How many", NULL},
    {"size", NULL, FLAG_SIZE, offsetof(Options, size), "1k", "How large", NULL},
    {"wait", NULL, FLAG_DURATION, offsetof(Options, wait), "10s", "How long", NULL},
    {"token-file", "TB_TOKEN", FLAG_SECRET, offsetof(Options, token), "/nonexistent/token", "The token",
     NULL},
    {NULL, "TB_ONLY", FLAG_STRING, offsetof(Options, mode), NULL, "Mode by environment", NULL},
    {"old", NULL, FLAG_IGNORED, 0, NULL, NULL, NULL},
    {"older", NULL, FLAG_IGNORED_BOOL, 0, NULL, NULL, NULL},
    {0},
};

static int setup(void **state)
{
    unsetenv("TB_ADDRESS");
    unsetenv("TB_VERBOSE");
    unsetenv("TB_COUNT");
    unsetenv("TB_TOKEN");
    unsetenv("TB_TOKEN_FILE");
    unsetenv("TB_ONLY");
    return 0;
}

/* `words` is cut at blanks, program name first. */
static int parse(Options *o, const char *words, char ***ret_args, Err *err)
{
    static char line[1024]; /* arguments are borrowed from argv */
    char *argv[32];
    int argc = 0;
    snprintf(line, sizeof(line), "%s", words);
    for (char *at = line; at;) {
        argv[argc++] = at;
        at = strchr(at, ' ');
        if (at)
            *at++ = '\0';
    }
    argv[argc] = NULL;
    return flags_parse(table, o, argc, argv, ret_args, err);
}

static void test_flag__defaults(void **state)
{
    Options o;
    memset(&o, 0xff, sizeof(o)); /* the target need not be initialised */
    assert_int_equal(parse(&o, "prog", NULL, NULL), 0);
    assert_string_equal(o.address, "localhost");
    assert_null(o.mode);
    assert_false(o.verbose);
    assert_true(o.quick);
    assert_int_equal(o.count, 5);
    assert_int_equal(o.size, 1024);
    assert_true(o.wait == 10 * USEC_PER_SEC);
    assert_null(o.token);
    flags_free(table, &o);
    assert_null(o.address);
}

static void test_flag__argv_wins_over_environment_wins_over_default(void **state)
{
    Options o;
    setenv("TB_ADDRESS", "from-env", 1);
    setenv("TB_COUNT", "8", 1);
    setenv("TB_VERBOSE", "1", 1);
    setenv("TB_ONLY", "by-env", 1);
    assert_int_equal(parse(&o, "prog --count=9", NULL, NULL), 0);
    assert_string_equal(o.address, "from-env");
    assert_string_equal(o.mode, "by-env");
    assert_true(o.verbose);
    assert_int_equal(o.count, 9);
    flags_free(table, &o);
    setenv("TB_COUNT", "", 1);
    assert_int_equal(parse(&o, "prog", NULL, NULL), 0);
    assert_int_equal(o.count, 5);
    flags_free(table, &o);
}

static void test_flag__forms(void **state)
{
    Options o;
    char **args = NULL;
    assert_int_equal(parse(&o,
                           "prog -address a --address=b one --mode= --quick=false --verbose two --size 3M "
                           "--wait 1m30s --old x --older - -- --count",
                           &args, NULL),
                     0);
    assert_string_equal(o.address, "b");
    assert_string_equal(o.mode, "");
    assert_false(o.quick);
    assert_true(o.verbose);
    assert_int_equal(o.size, 3 << 20);
    assert_true(o.wait == 90 * USEC_PER_SEC);
    static const char *const want[] = {"one", "two", "-", "--count"};
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_string_equal(args[i], want[i]);
    assert_null(args[ARRAY_LEN(want)]);
    free(args);
    flags_free(table, &o);
}

static void test_flag__errors_name_the_flag_and_the_rule(void **state)
{
    static const struct {
        const char *words, *message;
    } cases[] = {
        {"prog --mode", "flag --mode: needs a value"},
        {"prog --adress x", "unknown flag --adress (did you mean --address?)"},
        {"prog --zebra", "unknown flag --zebra"},
        {"prog --zebra=1", "unknown flag --zebra"},
        {"prog -x", "unknown flag --x"},
        {"prog --=x", "unknown flag --"},
        {"prog --count=many", "flag --count: \"many\": must be a whole number"},
        {"prog --verbose=maybe", "flag --verbose: \"maybe\": must be true or false"},
        {"prog --wait 5", "flag --wait: \"5\": must be a duration such as 250ms, 30s or 1h30m"},
        {"prog word", "unexpected argument \"word\""},
        {"prog --token-file /nonexistent/sekrit",
         "flag --token-file: takes the name of a file with the secret; there is no such file"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Options o;
        Err err = {0};
        assert_int_equal(parse(&o, cases[i].words, NULL, &err), -(int)ERR_USAGE);
        assert_string_equal(err.msg, cases[i].message);
        assert_null(o.address); /* nothing is left to free */
    }
    Options o;
    Err err = {0};
    setenv("TB_COUNT", "x", 1);
    assert_int_equal(parse(&o, "prog", NULL, &err), -(int)ERR_USAGE);
    assert_string_equal(err.msg, "environment variable TB_COUNT: \"x\": must be a whole number");
}

static void test_flag__secrets(void **state)
{
    char dir_template[] = "/tmp/test-base-flag-XXXXXX";
    char *dir = test_dir(dir_template);
    CLEANUP_FREE char *path = path_join(dir, "token");
    assert_int_equal(file_write_atomic(path, STR("from-file\n"), 0600, NULL), 0);
    Options o;
    setenv("TB_TOKEN", "from-env", 1);
    assert_int_equal(parse(&o, "prog", NULL, NULL), 0);
    assert_true(secret_equals(o.token, STR("from-env")));
    flags_free(table, &o);
    CLEANUP_FREE char *words = xasprintf("prog --token-file %s", path);
    assert_int_equal(parse(&o, words, NULL, NULL), 0);
    assert_true(secret_equals(o.token, STR("from-file")));
    flags_free(table, &o);
    unsetenv("TB_TOKEN");
    setenv("TB_TOKEN_FILE", path, 1);
    assert_int_equal(parse(&o, "prog", NULL, NULL), 0);
    assert_true(secret_equals(o.token, STR("from-file")));
    flags_free(table, &o);
    assert_int_equal(dir_remove_tree(dir, NULL), 0);
}

static void test_flag__sizes(void **state)
{
    static const struct {
        const char *text;
        int64_t v; /* -1 = refused */
    } cases[] = {
        {"0", 0},
        {"12", 12},
        {"2k", 2048},
        {"2K", 2048},
        {"3M", 3145728},
        {"1G", 1073741824},
        {"9223372036854775807", INT64_MAX},
        {"9007199254740991k", 9007199254740991 * 1024},
        {"9007199254740992k", -1},
        {"k", -1},
        {"", -1},
        {"-1", -1},
        {"1kk", -1},
        {"1T", -1},
        {"1.5k", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t v = -1;
        flag_parse_size(str_from(cases[i].text), &v);
        if (v != cases[i].v)
            fail_msg("%s: %lld", cases[i].text, (long long)v);
    }
}

static void test_flag__help_comes_from_the_table(void **state)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    flags_help(table, out);
    fclose(out);
    static const char *const want[] = {
        "  --address HOST\n        Where to listen (default localhost) [$TB_ADDRESS]\n",
        "  --verbose\n        Say more [$TB_VERBOSE]\n",
        "  --token-file FILE\n",
        "  (environment only)\n        Mode by environment [$TB_ONLY]\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        if (str_find(str_from(text), str_from(want[i])) < 0)
            fail_msg("not in the help: %s", want[i]);
    assert_true(str_find(str_from(text), STR("--old")) < 0);
    free(text);
}

int run_flag_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_flag__defaults, setup),
        cmocka_unit_test_setup(test_flag__argv_wins_over_environment_wins_over_default, setup),
        cmocka_unit_test_setup(test_flag__forms, setup),
        cmocka_unit_test_setup(test_flag__errors_name_the_flag_and_the_rule, setup),
        cmocka_unit_test_setup(test_flag__secrets, setup),
        cmocka_unit_test_setup(test_flag__sizes, setup),
        cmocka_unit_test_setup(test_flag__help_comes_from_the_table, setup),
    };
    return cmocka_run_group_tests_name("base-flag", tests, NULL, NULL);
}
