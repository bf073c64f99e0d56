/* Files by the paths of clients: what may be reached, and what may not, whatever lies in the workspace. */
#include "test-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "workspace.h"

typedef struct Fixture {
    char dir[64], *root, *state, *outside;
    Workspace *w;
} Fixture;

static void put(const char *dir, const char *name, const char *text)
{
    CLEANUP_FREE char *path = path_join(dir, name);
    assert_int_equal(file_write_atomic(path, str_from(text), 0644, NULL), 0);
}

static void link_to(Fixture *f, const char *target, const char *name)
{
    CLEANUP_FREE char *path = path_join(f->root, name);
    assert_int_equal(symlink(target, path), 0);
}

static int setup(void **state)
{
    Fixture *f = xnew(Fixture);
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/test-workspace-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->root = path_join(f->dir, "root");
    f->state = path_join(f->root, ".state");
    f->outside = path_join(f->dir, "outside");
    assert_int_equal(dir_make(f->state, 0700, NULL), 0);
    assert_int_equal(dir_make(f->outside, 0755, NULL), 0);
    put(f->outside, "secret", "outside");
    put(f->root, "inside", "inside");
    put(f->state, "journal.jsonl", "private");
    put(f->state, "other", "of the agent");
    assert_int_equal(workspace_new(f->root, f->state, &f->w, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    workspace_free(f->w);
    (void)dir_remove_tree(f->dir, NULL);
    free(f->root);
    free(f->state);
    free(f->outside);
    free(f);
    return 0;
}

static int read_file(const Fixture *f, const char *path, Buf *out)
{
    CLEANUP_FD int fd = -1;
    uint64_t size;
    int rc = workspace_open(f->w, str_from(path), &fd, &size, NULL);
    if (rc < 0)
        return rc;
    char *room = buf_reserve(out, size + 1);
    ssize_t n = read(fd, room, size + 1);
    assert_int_equal(n, size);
    buf_commit(out, (size_t)n);
    return 0;
}

static void assert_content(const Fixture *f, const char *path, const char *text)
{
    CLEANUP_BUF Buf out = BUF_INIT(1 << 20);
    assert_int_equal(read_file(f, path, &out), 0);
    assert_string_equal(out.data, text);
}

static void test_workspace__write_read_list_delete(void **state)
{
    Fixture *f = *state;
    CLEANUP_BUF Buf out = BUF_INIT(1 << 20);
    Err err = {0};
    assert_int_equal(workspace_write(f->w, STR("/a/b/c.bin"), (Str){"x\0y", 3}, &err), 0);
    assert_int_equal(read_file(f, "a//./b/c.bin", &out), 0);
    assert_memory_equal(out.data, "x\0y", 3);
    buf_clear(&out);
    assert_int_equal(workspace_list(f->w, STR("a"), &out, &err), 0);
    assert_non_null(strstr(out.data, "\"name\":\"b\",\"path\":\"/a/b\",\"isDir\":true"));
    assert_int_equal(workspace_delete(f->w, STR("a/b"), &err), -ERR_INVALID); /* not empty */
    assert_int_equal(workspace_delete(f->w, STR("a/b/c.bin"), &err), 0);
    assert_int_equal(workspace_delete(f->w, STR("a/b/c.bin"), &err), -ERR_NOT_FOUND);
    assert_int_equal(workspace_delete(f->w, STR("a/b"), &err), 0);
}

static void test_workspace__an_executable_stays_one(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *path = path_join(f->root, "inside");
    struct stat st;
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(workspace_write(f->w, STR("inside"), STR("new"), NULL), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    assert_content(f, "inside", "new");
}

/* Each of these names the file outside, in its own way. */
static void test_workspace__nothing_leads_out(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *proc = xasprintf("/proc/self/root%s", f->outside);
    CLEANUP_FREE char *secret = path_join(f->outside, "secret");
    static const char *const paths[] = {"../outside/secret",
                                        "a/../../outside/secret",
                                        "/../outside/secret",
                                        "abs/secret",
                                        "rel/secret",
                                        "file",
                                        "twice/secret",
                                        "magic/secret",
                                        "deep/up/outside/secret"};
    CLEANUP_FREE char *deep = path_join(f->root, "deep");
    assert_int_equal(dir_make(deep, 0755, NULL), 0);
    link_to(f, f->outside, "abs");
    link_to(f, "../outside", "rel");
    link_to(f, secret, "file");
    link_to(f, "rel", "twice");
    link_to(f, proc, "magic");
    link_to(f, "../..", "deep/up");
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        CLEANUP_BUF Buf out = BUF_INIT(1 << 20);
        CLEANUP_FREE char *dir = NULL;
        Str path = str_from(paths[i]);
        if (read_file(f, paths[i], &out) != -ERR_INVALID)
            fail_msg("read %s", paths[i]);
        if (strcmp(paths[i], "file") == 0)
            continue; /* writing and deleting concern the link itself: below */
        assert_int_equal(workspace_write(f->w, path, STR("x"), NULL), -ERR_INVALID);
        assert_int_equal(workspace_delete(f->w, path, NULL), -ERR_INVALID);
        assert_int_equal(workspace_remove_tree(f->w, path, NULL), -ERR_INVALID);
        assert_int_equal(workspace_list(f->w, path, &out, NULL), -ERR_INVALID);
        assert_true(workspace_dir(f->w, path, &dir, NULL) < 0);
    }
    CLEANUP_BUF Buf still = BUF_INIT(1024);
    assert_int_equal(file_read(secret, &still, NULL), 0);
    assert_string_equal(still.data, "outside");
}

static void test_workspace__a_link_is_replaced_or_removed_not_followed(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *secret = path_join(f->outside, "secret");
    CLEANUP_BUF Buf still = BUF_INIT(1024);
    link_to(f, secret, "one");
    link_to(f, f->outside, "two");
    assert_int_equal(workspace_write(f->w, STR("one"), STR("mine"), NULL), 0);
    assert_content(f, "one", "mine");
    assert_int_equal(workspace_remove_tree(f->w, STR("two"), NULL), 0);
    assert_int_equal(file_read(secret, &still, NULL), 0);
    assert_string_equal(still.data, "outside");
}

static void test_workspace__links_inside_are_fine(void **state)
{
    Fixture *f = *state;
    assert_int_equal(workspace_write(f->w, STR("d/x"), STR("text"), NULL), 0);
    link_to(f, "d", "to-d");
    assert_content(f, "to-d/x", "text");
    assert_int_equal(workspace_write(f->w, STR("to-d/y"), STR("more"), NULL), 0);
    assert_content(f, "d/y", "more");
}

static void test_workspace__the_runners_state_is_not_there(void **state)
{
    Fixture *f = *state;
    CLEANUP_BUF Buf out = BUF_INIT(1 << 20);
    CLEANUP_FREE char *from = path_join(f->state, "journal.jsonl");
    CLEANUP_FREE char *to = path_join(f->root, "hard");
    link_to(f, ".state/journal.jsonl", "soft");
    link_to(f, ".state", "dir");
    assert_int_equal(link(from, to), 0);
    static const char *const paths[] = {".state/journal.jsonl", "soft", "hard", "dir/journal.jsonl"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        assert_int_equal(read_file(f, paths[i], &out), -ERR_NOT_FOUND);
    assert_int_equal(workspace_write(f->w, STR("dir/journal.jsonl"), STR("x"), NULL), -ERR_FORBIDDEN);
    assert_int_equal(workspace_delete(f->w, STR(".state/journal.jsonl"), NULL), -ERR_NOT_FOUND);
    assert_int_equal(workspace_list(f->w, STR(".state"), &out, NULL), 0);
    assert_null(strstr(out.data, "journal"));
    assert_non_null(strstr(out.data, "other"));
    assert_content(f, "dir/other", "of the agent");
}

static void test_workspace__bad_paths(void **state)
{
    Fixture *f = *state;
    CLEANUP_BUF Buf out = BUF_INIT(1 << 20);
    CLEANUP_BUF Buf path = BUF_INIT(1 << 20);
    CLEANUP_FREE char *pipe = path_join(f->root, "pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(read_file(f, "pipe", &out), -ERR_INVALID); /* and it does not wait for a writer */
    assert_int_equal(workspace_write(f->w, STR("pipe"), STR("x"), NULL), -ERR_INVALID);
    assert_int_equal(read_file(f, "", &out), -ERR_INVALID);
    assert_int_equal(read_file(f, ".state", &out), -ERR_INVALID);
    assert_int_equal(read_file(f, "inside/x", &out), -ERR_INVALID);
    assert_int_equal(workspace_write(f->w, STR("/"), STR("x"), NULL), -ERR_INVALID);
    assert_int_equal(workspace_write(f->w, STR(".state"), STR("x"), NULL), -ERR_INVALID);
    assert_int_equal(workspace_delete(f->w, STR("."), NULL), -ERR_INVALID);
    assert_int_equal(workspace_write(f->w, STR("\xff"), STR("x"), NULL), -ERR_INVALID);
    for (int i = 0; i < 300; i++)
        (void)buf_addz(&path, "long/part/of/a/path/");
    assert_int_equal(workspace_write(f->w, buf_str(&path), STR("x"), NULL), -ERR_INVALID);
    (void)workspace_list(f->w, STR("nothing"), &out, NULL);
    assert_int_equal(workspace_list(f->w, STR("nothing"), &out, NULL), -ERR_NOT_FOUND);
}

int run_workspace_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_workspace__write_read_list_delete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_workspace__an_executable_stays_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_workspace__nothing_leads_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_workspace__a_link_is_replaced_or_removed_not_followed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_workspace__links_inside_are_fine, setup, teardown),
        cmocka_unit_test_setup_teardown(test_workspace__the_runners_state_is_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_workspace__bad_paths, setup, teardown),
    };
    return cmocka_run_group_tests_name("workspace", tests, NULL, NULL);
}
