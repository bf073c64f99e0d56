#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/mem.h"
#include "test-internal.h"

typedef struct Fixture {
    char dir[64];
} Fixture;

static int setup(void **state)
{
    Fixture *f = xnew(Fixture);
    snprintf(f->dir, sizeof(f->dir), "/tmp/test-base-file-XXXXXX");
    test_dir(f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    int r = dir_remove_tree(f->dir, NULL);
    free(f);
    return r;
}

static size_t count_entries(const char *path)
{
    DIR *d = opendir(path);
    assert_non_null(d);
    size_t n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static void test_file__write_and_read(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *path = path_join(f->dir, "x");
    assert_false(file_exists(path));
    for (size_t len = 0; len < 100000; len = len * 3 + 1) {
        CLEANUP_FREE char *content = xcalloc(len + 1, 1);
        for (size_t i = 0; i < len; i++)
            content[i] = (char)(i * 7);
        assert_int_equal(file_write_atomic(path, (Str){content, len}, 0640, NULL), 0);
        CLEANUP_BUF Buf b = BUF_INIT(len);
        assert_int_equal(file_read(path, &b, NULL), 0);
        assert_true(str_eq(buf_str(&b), (Str){content, len}));
    }
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_true(file_exists(path));
    assert_int_equal(count_entries(f->dir), 1); /* no temporary file is left */
}

static void test_file__limits_and_missing(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *path = path_join(f->dir, "x");
    CLEANUP_BUF Buf b = BUF_INIT(3);
    Err err = {0};
    assert_int_equal(file_read(path, &b, &err), -(int)ERR_NOT_FOUND);
    assert_int_equal(file_write_atomic(path, STR("abcd"), 0600, &err), 0);
    assert_int_equal(file_read(path, &b, &err), -(int)ERR_TOO_LARGE);
    assert_int_equal(file_read(f->dir, &b, &err), -(int)ERR_IO);
    CLEANUP_FREE char *below = path_join(path, "below");
    assert_int_equal(file_read(below, &b, &err), -(int)ERR_NOT_FOUND);
    assert_int_equal(file_write_atomic(below, STR(""), 0600, &err), -(int)ERR_IO);
}

static void test_file__failed_write_leaves_the_old_content(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *path = path_join(f->dir, "d");
    CLEANUP_FREE char *inside = path_join(path, "inside");
    assert_int_equal(dir_make(path, 0700, NULL), 0);
    assert_int_equal(file_write_atomic(inside, STR("old"), 0600, NULL), 0);
    Err err = {0};
    assert_int_equal(file_write_atomic(path, STR("new"), 0600, &err),
                     -(int)ERR_IO); /* rename onto a directory */
    assert_int_equal(count_entries(f->dir), 1);
    assert_true(file_exists(inside));
}

static void test_file__directories(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *deep = path_join(f->dir, "a//b/c/");
    assert_int_equal(dir_make(deep, 0700, NULL), 0);
    assert_int_equal(dir_make(deep, 0700, NULL), 0);
    assert_true(file_exists(deep));
    CLEANUP_FREE char *file = path_join(deep, "file");
    assert_int_equal(file_write_atomic(file, STR(""), 0600, NULL), 0);
    CLEANUP_FREE char *below = path_join(file, "x");
    Err err = {0};
    assert_int_equal(dir_make(file, 0700, &err), -(int)ERR_IO);
    assert_int_equal(dir_make(below, 0700, &err), -(int)ERR_IO);
    assert_int_equal(dir_make("", 0700, &err), -(int)ERR_IO);
}

static void test_file__path_join(void **state)
{
    static const struct {
        const char *dir, *name, *want;
    } cases[] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"a//", "/b", "a/b"},
        {"/", "b", "/b"},  {"", "b", "b"},     {"a", "", "a/"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_FREE char *got = path_join(cases[i].dir, cases[i].name);
        assert_string_equal(got, cases[i].want);
    }
}

static void test_file__lock_excludes(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *path = path_join(f->dir, "lock");
    Err err = {0};
    int first = -1;
    assert_int_equal(file_lock(path, &first, &err), 0);
    CLEANUP_FD int second = -1;
    assert_int_equal(file_lock(path, &second, &err), -(int)ERR_CONFLICT);
    assert_int_equal(second, -1);
    assert_int_equal(fcntl(first, F_GETFD), FD_CLOEXEC);
    close(first);
    assert_int_equal(file_lock(path, &second, &err), 0);
}

/* The child takes the lock, says so, and lets go by ending. */
static void test_file__lock_waits_for_the_holder(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *path = path_join(f->dir, "lock");
    int said[2], ask[2];
    assert_int_equal(pipe2(said, O_CLOEXEC), 0);
    assert_int_equal(pipe2(ask, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        int fd = -1;
        char c = file_lock(path, &fd, NULL) == 0 ? 'y' : 'n';
        close(ask[1]);
        if (write(said[1], &c, 1) == 1 && read(ask[0], &c, 1) == 0)
            _exit(0);
        _exit(1);
    }
    char c = 0;
    int fd = -1, status = -1;
    assert_int_equal(read(said[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    assert_int_equal(file_lock(path, &fd, NULL), -(int)ERR_CONFLICT);
    close(ask[1]); /* now it ends */
    assert_int_equal(file_lock_wait(path, &fd, NULL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(fd);
    close(said[0]);
    close(said[1]);
    close(ask[0]);
}

static void test_remove__follows_no_links(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *kept = path_join(f->dir, "kept");
    CLEANUP_FREE char *kept_file = path_join(kept, "file");
    CLEANUP_FREE char *tree = path_join(f->dir, "tree");
    CLEANUP_FREE char *sub = path_join(tree, "sub/locked");
    CLEANUP_FREE char *link_inside = path_join(sub, "link");
    CLEANUP_FREE char *root_link = path_join(f->dir, "root-link");
    assert_int_equal(dir_make(kept, 0700, NULL), 0);
    assert_int_equal(file_write_atomic(kept_file, STR("x"), 0600, NULL), 0);
    assert_int_equal(dir_make(sub, 0700, NULL), 0);
    assert_int_equal(symlink(kept, link_inside), 0);
    assert_int_equal(symlink(kept, root_link), 0);
    assert_int_equal(chmod(sub, 0), 0);
    assert_int_equal(dir_remove_tree(tree, NULL), 0);
    assert_false(file_exists(tree));
    assert_int_equal(dir_remove_tree(root_link, NULL), 0);
    assert_true(file_exists(kept_file));
    assert_int_equal(dir_remove_tree(tree, NULL), 0); /* again: nothing to do */
}

/* Deeper than PATH_MAX, made one level at a time. */
static void test_remove__any_depth(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *tree = path_join(f->dir, "deep");
    assert_int_equal(dir_make(tree, 0700, NULL), 0);
    int fd = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(mkdirat(fd, "dd", 0700), 0);
        if (i % 100 == 0) /* a name that our own could meet */
            mkdirat(fd, ".removing-1-1", 0700);
        int next = openat(fd, "dd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(next >= 0);
        close(fd);
        fd = next;
    }
    close(fd);
    Err err = {0};
    if (dir_remove_tree(tree, &err) < 0)
        fail_msg("%s", err.msg);
    assert_false(file_exists(tree));
}

static void test_remove__refuses_dangerous_roots(void **state)
{
    static const char *const roots[] = {"", "/", "//", "relative", "/tmp/..", "/tmp/../etc", "/.", "./x"};
    for (size_t i = 0; i < ARRAY_LEN(roots); i++)
        assert_int_equal(dir_remove_tree(roots[i], NULL), -(int)ERR_INVALID);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int run_file_tests(void)
{
    const struct CMUnitTest tests[] = {
        T(test_file__write_and_read),
        T(test_file__limits_and_missing),
        T(test_file__failed_write_leaves_the_old_content),
        T(test_file__directories),
        T(test_file__path_join),
        T(test_file__lock_excludes),
        T(test_file__lock_waits_for_the_holder),
        T(test_remove__follows_no_links),
        T(test_remove__any_depth),
        T(test_remove__refuses_dangerous_roots),
    };
    return cmocka_run_group_tests_name("base-file", tests, NULL, NULL);
}
