/* What clients may name to git, what git says counted, and runs that end whatever happens. */
#include "test-internal.h"

#include <string.h>
#include "git-status.h"
#include "git.h"

static RunnerConfig config = {.git_protocols = (char[]){"https:ssh"}, .workspace = (char[]){"/tmp"}};

static void test_git__addresses(void **state)
{
    static const char *const good[] = {"https://h/a.git",        "https://h:8443/a/b", "ssh://git@h/a",
                                       "git@github.com:a/b.git", "user@h:x",           "https://h/%20x"};
    static const char *const bad[] = {
        "",
        "h",
        "/etc",
        "file:///etc",
        "http://h/a",
        "ext::sh -c x",
        "-oProxy=x",
        "--upload-pack=x",
        "git://h/a",
        "https://h/a b",
        "https://h/\n",
        "ftp://h/a",
        "h:x",
        "./x",
        "../x",
        "a/b@h:x",
        "@h:x",
        "ext::x@h:y z",
        "HTTPS://h/",
        "://h",
        "u@:x",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (git_check_url(&config, str_from(good[i]), NULL) < 0)
            fail_msg("%s was refused", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (git_check_url(&config, str_from(bad[i]), NULL) == 0)
            fail_msg("%s was taken", bad[i]);
}

static void test_git__branches_and_names(void **state)
{
    static const char *const good[] = {"main", "feature/x", "v1.2", "ambient/s_1"};
    static const char *const bad[] = {"",   "-x",  "a b", "a..b", "a~1",    "a^", "a:b", "a?",   "a*",
                                      "a[", "a\\", "/a",  "a/",   "a.lock", "a.", "@{",  "a//b", "a\x7f"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(git_check_branch(str_from(good[i]), NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (git_check_branch(str_from(bad[i]), NULL) == 0)
            fail_msg("branch %s was taken", bad[i]);
    static const char *const names[] = {"", ".", "..", "../x", "a/b", "/a", "a b", "a\n", "\xc3\xa9"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (git_check_name(str_from(names[i]), NULL) == 0)
            fail_msg("name %s was taken", names[i]);
    assert_int_equal(git_check_name(STR(".github"), NULL), 0);
}

static void test_git__names_of_addresses(void **state)
{
    static const char *const cases[][2] = {{"https://h/a/tool.git", "tool"}, {"https://h/tool/", "tool"},
                                           {"git@h:tool", "tool"},           {"git@h:a/tool.git", "tool"},
                                           {"https://h/..", ".."},           {"", ""}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_true(str_eqz(git_name_of_url(str_from(cases[i][0])), cases[i][1]));
}

/* ---- status ---- */

static void test_git__status_is_counted(void **state)
{
    static const char text[] = "# branch.oid 12\0# branch.head topic\0"
                               "1 .M N... 100644 100644 100644 aa bb changed file\0"
                               "1 A. N... 000000 100644 100644 00 bb added\0"
                               "1 .D N... 100644 100644 000000 aa bb gone\0"
                               "2 R. N... 100644 100644 100644 aa bb R100 new name\0old name\0"
                               "u UU N... 1 1 1 1 a b c both\0"
                               "? strange\n\xff\0";
    static const char numbers[] = "3\t1\tchanged file\0-\t-\tpicture\0"
                                  "2\t0\t\0old name\0new name\0";
    GitStatus s;
    git_status_init(&s);
    git_status_read(&s, (Str){text, sizeof(text) - 1});
    git_status_count(&s, (Str){numbers, sizeof(numbers) - 1});
    assert_string_equal(s.branch, "topic");
    assert_int_equal(s.files, 6);
    assert_int_equal(s.added, 2);
    assert_int_equal(s.removed, 1);
    assert_int_equal(s.lines_added, 5);
    assert_int_equal(s.lines_removed, 1);
    assert_string_equal(json_string_value(json_array_get(s.modified, 0)), "changed file");
    assert_string_equal(json_string_value(json_array_get(s.staged, 1)), "new name");
    assert_int_equal(json_array_size(s.modified), 3);
    assert_int_equal(json_array_size(s.untracked), 1);
    git_status_done(&s);
}

/* Whatever git or a program in its place says, it is read to its end and no further. */
static void test_git__broken_status(void **state)
{
    static const char *const texts[] = {"1", "1 ", "1 M",   "2 R. x",         "u",
                                        "?", "? ", "1 ...", "# branch.head ", "\t\t"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        GitStatus s;
        git_status_init(&s);
        CLEANUP_FREE char *copy = str_dup(str_from(texts[i]));
        git_status_read(&s, str_from(copy));
        git_status_count(&s, str_from(copy));
        git_status_done(&s);
    }
}

static void test_git__numbers_of_lines_have_an_end(void **state)
{
    static const char numbers[] = "9223372036854775807\t-4\ta\0"
                                  "1\t6\tb\0";
    GitStatus s;
    git_status_init(&s);
    git_status_count(&s, (Str){numbers, sizeof(numbers) - 1});
    assert_true(s.lines_added == INT64_MAX);
    assert_int_equal(s.lines_removed, 6);
    git_status_done(&s);
}

/* ---- runs ---- */

typedef struct Run {
    bool over;
    char error[1024], out[256];
} Run;

static void on_done(void *arg, const char *error, Str out)
{
    Run *r = arg;
    r->over = true;
    (void)snprintf(r->error, sizeof(r->error), "%s", error ? error : "");
    (void)snprintf(r->out, sizeof(r->out), STR_FMT, STR_ARG(str_slice(out, 0, 200)));
}

static Run run_git(const char *const *args, const char *dir, Usec limit)
{
    Loop *l = NULL;
    Run r = {0};
    assert_int_equal(loop_new(&l, NULL), 0);
    GitSpec spec = {.config = &config, .dir = dir, .args = args, .limit = limit, .out_max = 1000};
    assert_non_null(git_run(l, &spec, on_done, &r));
    assert_false(r.over); /* never before it returns */
    PUMP_UNTIL(l, r.over);
    loop_free(l);
    return r;
}

static void test_git__a_run(void **state)
{
    Run r = run_git((const char *const[]){"version", NULL}, "/tmp", 30 * USEC_PER_SEC);
    assert_string_equal(r.error, "");
    assert_non_null(strstr(r.out, "git version"));
    r = run_git((const char *const[]){"no-such-command", NULL}, "/tmp", 30 * USEC_PER_SEC);
    assert_non_null(strstr(r.error, "exit status 1"));
    assert_non_null(strstr(r.error, "no-such-command"));
    r = run_git((const char *const[]){"version", NULL}, "/nowhere/at/all", 30 * USEC_PER_SEC);
    assert_non_null(strstr(r.error, "cannot be started"));
}

static void test_git__limits(void **state)
{
    Run r =
        run_git((const char *const[]){"-c", "alias.w=!sleep 600", "w", NULL}, "/tmp", 200 * USEC_PER_MSEC);
    assert_non_null(strstr(r.error, "took too long"));
    r = run_git((const char *const[]){"-c", "alias.w=!yes", "w", NULL}, "/tmp", 60 * USEC_PER_SEC);
    assert_non_null(strstr(r.error, "more than it may"));
}

static void test_git__cancelled_runs_say_nothing(void **state)
{
    static const char *const args[] = {"version", NULL};
    Loop *l = NULL;
    Run r = {0}, other = {0};
    assert_int_equal(loop_new(&l, NULL), 0);
    GitSpec spec = {
        .config = &config, .dir = "/tmp", .args = args, .limit = 30 * USEC_PER_SEC, .out_max = 1000};
    git_cancel(git_run(l, &spec, on_done, &r));
    git_run(l, &spec, on_done, &other);
    PUMP_UNTIL(l, other.over);
    loop_free(l);
    assert_false(r.over);
}

int run_git_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_git__addresses),
        cmocka_unit_test(test_git__numbers_of_lines_have_an_end),
        cmocka_unit_test(test_git__branches_and_names),
        cmocka_unit_test(test_git__names_of_addresses),
        cmocka_unit_test(test_git__status_is_counted),
        cmocka_unit_test(test_git__broken_status),
        cmocka_unit_test(test_git__a_run),
        cmocka_unit_test(test_git__limits),
        cmocka_unit_test(test_git__cancelled_runs_say_nothing),
    };
    return cmocka_run_group_tests_name("git", tests, NULL, NULL);
}
