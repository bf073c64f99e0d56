#include "base/err.h"

#include <errno.h>
#include <string.h>
#include "test-internal.h"

static void test_err__set_wrap_and_errno(void **state)
{
    Err err = {0};
    assert_int_equal(err_set(&err, ERR_NOT_FOUND, "session %s", "x"), -(int)ERR_NOT_FOUND);
    assert_int_equal(err_wrap(&err, "list %d", 3), -(int)ERR_NOT_FOUND);
    assert_string_equal(err.msg, "list 3: session x");
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(err_set_errno(&err, ENOENT, "open"), -(int)ERR_IO);
    assert_string_equal(err.msg, "open: No such file or directory");
    assert_int_equal(err_set_errno(&err, ENOSPC, "write"), -(int)ERR_NO_SPACE);
    assert_int_equal(err_set_errno(&err, EDQUOT, "write"), -(int)ERR_NO_SPACE);
    assert_int_equal(err_set(&err, ERR_INVALID, "again: %s", err.msg), -(int)ERR_INVALID);
    assert_string_equal(err.msg, "again: write: Disk quota exceeded");
}

static void test_err__null_is_allowed(void **state)
{
    assert_int_equal(err_set(NULL, ERR_CONFLICT, "x"), -(int)ERR_CONFLICT);
    assert_int_equal(err_set_errno(NULL, EIO, "x"), -(int)ERR_IO);
    assert_int_equal(err_wrap(NULL, "x"), -(int)ERR_IO); /* the code gets through without an Err, too */
    err_set(NULL, ERR_NOT_FOUND, "x");
    assert_int_equal(err_wrap(NULL, "x"), -(int)ERR_NOT_FOUND);
}

static void test_err__long_texts_are_cut_between_characters(void **state)
{
    for (int lead = 0; lead < 4; lead++) {
        char text[1024] = "";
        size_t len = (size_t)lead;
        memset(text, 'a', len);
        for (; len < 900; len += 3)
            memcpy(text + len, "\xe2\x82\xac", 3); /* euro sign */
        text[len] = '\0';
        Err err = {0};
        err_set(&err, ERR_INVALID, "%s", text);
        assert_true(strlen(err.msg) < sizeof(err.msg) && strlen(err.msg) > sizeof(err.msg) - 8);
        assert_true(str_ends(str_from(err.msg), STR("...")));
        assert_true(str_is_utf8(str_from(err.msg)));
        err_wrap(&err, "%s", text);
        assert_true(str_is_utf8(str_from(err.msg)));
    }
    char exact[sizeof(((Err *)0)->msg)];
    memset(exact, 'e', sizeof(exact));
    exact[sizeof(exact) - 1] = '\0';
    Err err = {0};
    err_set(&err, ERR_INVALID, "%s", exact);
    assert_string_equal(err.msg, exact);
}

static void test_err__foreign_bytes_become_question_marks(void **state)
{
    Err err = {0};
    err_set(&err, ERR_INVALID, "bad \xff\xc3-\xed\xa0\x80- \xc3\xa9");
    assert_string_equal(err.msg, "bad ?"
                                 "?-??"
                                 "?- \xc3\xa9");
}

static void test_err__table(void **state)
{
    assert_string_equal(err_info(ERR_NOT_FOUND)->name, "NOT_FOUND");
    assert_int_equal(err_info(ERR_NOT_FOUND)->http_status, 404);
    assert_int_equal(err_info(ERR_NOT_FOUND)->exit_code, 3);
    assert_string_equal(err_info((ErrCode)9999)->name, "INTERNAL");
    assert_string_equal(err_info((ErrCode)-3)->name, "INTERNAL");
    for (int code = ERR_OK + 1; code < _ERR_MAX; code++) {
        const ErrInfo *info = err_info((ErrCode)code);
        assert_non_null(info->name);
        assert_true(info->http_status >= 400 && info->http_status < 600);
        assert_true(info->grpc_status >= 1 && info->grpc_status <= 16);
        assert_true(info->exit_code >= 1 && info->exit_code <= 7);
        assert_int_equal(err_info(err_from_http(info->http_status))->http_status, info->http_status);
    }
}

static void test_err__from_peers(void **state)
{
    static const struct {
        int status;
        ErrCode code;
    } http[] = {
        {200, ERR_OK},
        {204, ERR_OK},
        {301, ERR_INTERNAL},
        {400, ERR_INVALID},
        {401, ERR_UNAUTHENTICATED},
        {404, ERR_NOT_FOUND},
        {408, ERR_DEADLINE},
        {409, ERR_CONFLICT},
        {410, ERR_NOT_FOUND},
        {418, ERR_BAD_REQUEST},
        {429, ERR_RATE_LIMITED},
        {500, ERR_INTERNAL},
        {503, ERR_UNAVAILABLE},
        {599, ERR_INTERNAL},
        {0, ERR_INTERNAL},
    };
    for (size_t i = 0; i < ARRAY_LEN(http); i++)
        assert_int_equal(err_from_http(http[i].status), http[i].code);
    assert_int_equal(err_from_grpc(0), ERR_OK);
    assert_int_equal(err_from_grpc(5), ERR_NOT_FOUND);
    assert_int_equal(err_from_grpc(16), ERR_UNAUTHENTICATED);
    assert_int_equal(err_from_grpc(17), ERR_INTERNAL);
    assert_int_equal(err_from_grpc(-1), ERR_INTERNAL);
    assert_string_equal(err_grpc_name(0), "OK");
    assert_string_equal(err_grpc_name(1), "Canceled");
    assert_string_equal(err_grpc_name(16), "Unauthenticated");
    assert_string_equal(err_grpc_name(99), "Unknown");
}

int run_err_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err__set_wrap_and_errno),
        cmocka_unit_test(test_err__null_is_allowed),
        cmocka_unit_test(test_err__long_texts_are_cut_between_characters),
        cmocka_unit_test(test_err__foreign_bytes_become_question_marks),
        cmocka_unit_test(test_err__table),
        cmocka_unit_test(test_err__from_peers),
    };
    return cmocka_run_group_tests_name("base-err", tests, NULL, NULL);
}
