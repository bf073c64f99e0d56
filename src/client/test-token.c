#include "test-internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include "base/file.h"
#include "client/jwt.h"

typedef struct Place {
    char dir[32], path[64];
} Place;

static void place_init(Place *p)
{
    snprintf(p->dir, sizeof(p->dir), "/tmp/test-client-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->path, sizeof(p->path), "%s/token", p->dir);
}

static void place_done(Place *p)
{
    unlink(p->path);
    rmdir(p->dir);
}

static void put(const Place *p, const char *text)
{
    assert_int_equal(file_write_atomic(p->path, str_from(text), 0600, NULL), 0);
}

static void assert_token(TokenSource *t, const char *want)
{
    assert_true(secret_equals(token_source_get(t), str_from(want)));
}

static void test_token__file_is_read_again_when_it_changed(void **state)
{
    Place p;
    place_init(&p);
    put(&p, "first-token\n");
    TokenSource *t = token_source_file(p.path, STR("fallback-token"));
    assert_token(t, "first-token");
    put(&p, "other-token\n"); /* the same size; another inode */
    assert_token(t, "other-token");
    token_source_free(t);
    place_done(&p);
}

static void test_token__fallback_until_there_is_a_file(void **state)
{
    Place p;
    place_init(&p);
    TokenSource *t = token_source_file(p.path, STR("fallback-token"));
    assert_token(t, "fallback-token");
    put(&p, "");
    assert_token(t, "fallback-token");
    put(&p, "file-token");
    assert_token(t, "file-token");
    unlink(p.path); /* being replaced: the last one may still be good */
    assert_token(t, "file-token");
    token_source_free(t);
    place_done(&p);
}

static void test_token__a_file_others_may_write_is_not_used(void **state)
{
    Place p;
    place_init(&p);
    put(&p, "planted-token");
    assert_int_equal(chmod(p.path, 0666), 0);
    TokenSource *t = token_source_file(p.path, STR(""));
    assert_true(secret_is_empty(token_source_get(t)));
    token_source_free(t);
    place_done(&p);
}

static void test_token__none_is_none(void **state)
{
    TokenSource *t = token_source_static(STR(""));
    assert_null(token_source_get(t));
    token_source_set(t, STR("late"));
    assert_token(t, "late");
    token_source_free(t);
    assert_null(token_source_free(NULL));
}

/* The claims are {"sub":"x"}, [1] and "x". */
static void test_token__what_is_no_jwt_has_no_claims(void **state)
{
    static const char *const none[] = {
        "", ".", "..", "a", "a.b", "e30.eyJzdWIiOiJ4In0", "e30..s", "e30.%%.s", "e30.WzFd.s", "e30.Ingi.s"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        assert_null(jwt_claims(str_from(none[i])));
    json_t *claims = jwt_claims(STR("e30.eyJzdWIiOiJ4In0.s"));
    assert_string_equal(json_get_str(claims, "sub"), "x");
    json_decref(claims);
}

int run_token_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token__file_is_read_again_when_it_changed),
        cmocka_unit_test(test_token__fallback_until_there_is_a_file),
        cmocka_unit_test(test_token__a_file_others_may_write_is_not_used),
        cmocka_unit_test(test_token__none_is_none),
        cmocka_unit_test(test_token__what_is_no_jwt_has_no_claims),
    };
    return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
