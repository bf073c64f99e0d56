/* What a process can still open after it has entered: looked at in children. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "sandbox/hide.h"
#include "sandbox/sandbox.h"

typedef struct Place {
    char dir[64];
} Place;

/* dir/{beside, state/{secret, sessions/{mine/{token, work/file}, other/token}}} */
static void put(const Place *p, const char *name)
{
    CLEANUP_FREE char *path = path_join(p->dir, name);
    CLEANUP_FREE char *parent = xstrndup(path, (size_t)(strrchr(path, '/') - path));
    assert_int_equal(dir_make(parent, 0700, NULL), 0);
    assert_int_equal(file_write_atomic(path, STR("secret\n"), 0600, NULL), 0);
}

static void place_init(Place *p)
{
    static const char *const files[] = {"beside", "state/secret", "state/sessions/mine/token",
                                        "state/sessions/mine/work/file", "state/sessions/other/token"};
    (void)snprintf(p->dir, sizeof(p->dir), "/var/tmp/ambient-sandbox-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        put(p, files[i]);
}

static void place_done(Place *p)
{
    assert_int_equal(dir_remove_tree(p->dir, NULL), 0);
}

static int look(const Place *p, const char *name, int flags)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s%s%s", *name == '/' ? "" : p->dir, *name == '/' ? "" : "/", name);
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd < 0 ? errno : 0;
}

typedef struct Case {
    const char *name;
    int flags, want; /* errno */
} Case;

/* The number of the first case that is not as wanted, from 1; 0 = all are. */
static int run_cases(const Place *p, const int *layers, size_t n_layers, const Case *cases, size_t n)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (size_t i = 0; i < n_layers; i++)
            if (hide_enter(layers[i]) < 0)
                _exit(100);
        for (size_t i = 0; i < n; i++)
            if (look(p, cases[i].name, cases[i].flags) != cases[i].want)
                _exit((int)i + 1);
        _exit(0);
    }
    int status = 0;
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int hide(const Place *p, const char *hidden, const char *shown)
{
    CLEANUP_FREE char *h = path_join(p->dir, hidden), *s = path_join(p->dir, shown);
    const char *const hs[] = {h, "/nonexistent/ambient"}, *const ss[] = {s};
    int fd = -1;
    Err err = {0};
    if (hide_prepare(hs, 2, ss, 1, &fd, &err) < 0)
        fail_msg("%s", err.msg);
    return fd;
}

static void test_hide__what_is_shown_stays_open_and_the_rest_is_closed(void **state)
{
    static const Case cases[] = {
        {"beside", O_RDWR, 0},
        {"/etc/passwd", O_RDONLY, 0},
        {"/proc/self/status", O_RDONLY, 0},
        {"/dev/null", O_WRONLY, 0},
        {"state", O_RDONLY | O_DIRECTORY, 0},
        {"state/sessions/mine/token", O_RDONLY, 0},
        {"state/sessions/mine/new", O_RDWR | O_CREAT, 0},
        {"state/secret", O_RDONLY, EACCES},
        {"state/secret", O_WRONLY | O_TRUNC, EACCES},
        {"state/sessions/other/token", O_RDONLY, EACCES},
    };
    if (!sandbox_works(SANDBOX_LANDLOCK))
        skip();
    Place p;
    place_init(&p);
    CLEANUP_FD int fd = hide(&p, "state", "state/sessions/mine");
    assert_int_equal(run_cases(&p, &fd, 1, cases, ARRAY_LEN(cases)), 0);
    place_done(&p);
}

static void test_hide__a_second_layer_takes_more_away(void **state)
{
    static const Case cases[] = {
        {"state/sessions/mine/work/file", O_RDWR, 0},
        {"state/sessions/mine/token", O_RDONLY, EACCES},
        {"state/secret", O_RDONLY, EACCES},
        {"state/sessions/other/token", O_RDONLY, EACCES},
        {"beside", O_RDONLY, 0},
    };
    if (!sandbox_works(SANDBOX_LANDLOCK))
        skip();
    Place p;
    place_init(&p);
    CLEANUP_FD int outer = hide(&p, "state", "state/sessions/mine");
    CLEANUP_FD int inner = hide(&p, "state/sessions/mine", "state/sessions/mine/work");
    const int layers[] = {outer, inner};
    assert_int_equal(run_cases(&p, layers, 2, cases, ARRAY_LEN(cases)), 0);
    place_done(&p);
}

static void test_hide__another_name_of_what_is_hidden_is_no_way_in(void **state)
{
    static const Case cases[] = {{"link", O_RDONLY, EACCES}, {"/proc/self/root", O_RDONLY | O_DIRECTORY, 0}};
    if (!sandbox_works(SANDBOX_LANDLOCK))
        skip();
    Place p;
    place_init(&p);
    CLEANUP_FREE char *link = path_join(p.dir, "link"), *target = path_join(p.dir, "state/secret");
    assert_int_equal(symlink(target, link), 0);
    CLEANUP_FD int fd = hide(&p, "state", "state/sessions/mine");
    assert_int_equal(run_cases(&p, &fd, 1, cases, ARRAY_LEN(cases)), 0);
    place_done(&p);
}

static void test_hide__a_file_can_be_hidden_and_nothing_may_be(void **state)
{
    static const Case closed[] = {{"beside", O_RDONLY, EACCES}, {"state/secret", O_RDONLY, 0}};
    static const Case open_cases[] = {{"beside", O_RDONLY, 0}, {"state/secret", O_RDONLY, 0}};
    if (!sandbox_works(SANDBOX_LANDLOCK))
        skip();
    Place p;
    place_init(&p);
    CLEANUP_FD int fd = hide(&p, "beside", "nothing");
    assert_int_equal(run_cases(&p, &fd, 1, closed, ARRAY_LEN(closed)), 0);
    CLEANUP_FD int none = hide(&p, "nothing", "nothing");
    assert_int_equal(run_cases(&p, &none, 1, open_cases, ARRAY_LEN(open_cases)), 0);
    place_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hide__what_is_shown_stays_open_and_the_rest_is_closed),
        cmocka_unit_test(test_hide__a_second_layer_takes_more_away),
        cmocka_unit_test(test_hide__another_name_of_what_is_hidden_is_no_way_in),
        cmocka_unit_test(test_hide__a_file_can_be_hidden_and_nothing_may_be),
    };
    return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL) != 0;
}
