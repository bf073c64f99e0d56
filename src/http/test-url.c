#include "test-internal.h"

#include "base/cleanup.h"
#include "http/url.h"

typedef struct UrlCase {
    const char *text, *host, *port, *path, *query;
    bool userinfo;
} UrlCase;

static void test_url__parts(void **state)
{
    static const UrlCase cases[] = {
        {"http://host", "host", "", "", "", false},
        {"HTTPS://host:80/", "host", "80", "/", "", false},
        {"http://host:/a/b?c=d&e", "host", "", "/a/b", "c=d&e", false},
        {"http://host?q", "host", "", "", "q", false},
        {"http://host/a#frag?x", "host", "", "/a", "", false},
        {"http://host#frag", "host", "", "", "", false},
        {"http://[::1]:8080/x", "::1", "8080", "/x", "", false},
        {"http://[2001:db8::1]", "2001:db8::1", "", "", "", false},
        {"http://user:pw@host/", "host", "", "/", "", true},
        {"http://a.b-c_d.e/%20%2F", "a.b-c_d.e", "", "/%20%2F", "", false},
        {"http://h/a:b@c;d,e=f", "h", "", "/a:b@c;d,e=f", "", false},
        {"http://h/?a=/?:@", "h", "", "/", "a=/?:@", false},
        {"https://h:65535", "h", "65535", "", "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Url u = {0};
        Err err = {0};
        const UrlCase *c = &cases[i];
        if (url_parse(str_from(c->text), &u, &err) < 0)
            fail_msg("%s: %s", c->text, err.msg);
        if (!str_eqz(u.host, c->host) || !str_eqz(u.port, c->port) || !str_eqz(u.path, c->path) ||
            !str_eqz(u.query, c->query) || u.has_userinfo != c->userinfo)
            fail_msg("%s: wrong parts", c->text);
    }
}

static void test_url__refused(void **state)
{
    static const char *const bad[] = {
        "",
        "host",
        "//host",
        "ftp://host",
        "file:///etc/passwd",
        "http:/host",
        "http://",
        "http:///path",
        "http://host:x",
        "http://host:65536",
        "http://host:-1",
        "http://host:+1",
        "http://host:1:2",
        "http://ho st/",
        "http://host/a b",
        "http://host/\n",
        "http://host/%",
        "http://host/%2",
        "http://host/%zz",
        "http://[::1",
        "http://[::1]x",
        "http://[host]",
        "http://[]",
        "http://host/\xc3\xa4",
        "http://host/\"",
        "http://user@",
        "http://us er@host",
        "http://host/<",
        "http://host?a\\b",
        " http://host",
        "http://@",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        Url u = {.host = STR("untouched")};
        if (url_parse(str_from(bad[i]), &u, NULL) == 0)
            fail_msg("\"%s\" was accepted", bad[i]);
        assert_true(str_eqz(u.host, "untouched"));
    }
    Url u;
    assert_true(url_parse(STR("http://h\0st/"), &u, NULL) < 0);
    assert_true(url_parse(STR("http://host/\0"), &u, NULL) < 0);
}

static void test_url__escapes(void **state)
{
    CLEANUP_BUF Buf b = BUF_INIT(1000);
    url_escape_segment(&b, STR("a/b c?%\xc3\xa4~-._"));
    assert_string_equal(b.data, "a%2Fb%20c%3F%25%C3%A4~-._");
    buf_clear(&b);
    url_escape_segment(&b, STR(".."));
    assert_string_equal(b.data, "%2E%2E");
    buf_clear(&b);
    url_escape_query(&b, STR("a b&c=d+\0"));
    assert_string_equal(b.data, "a+b%26c%3Dd%2B%00");
}

static void test_url__unescape(void **state)
{
    CLEANUP_BUF Buf b = BUF_INIT(1000);
    assert_int_equal(url_unescape(&b, STR("a%20b+c%2fd"), false), 0);
    assert_string_equal(b.data, "a b+c/d");
    buf_clear(&b);
    assert_int_equal(url_unescape(&b, STR("a+b%2B"), true), 0);
    assert_string_equal(b.data, "a b+");
    static const char *const bad[] = {"%", "%1", "%g0", "%0g", "a%"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(url_unescape(&b, str_from(bad[i]), false), -1);
    CLEANUP_BUF Buf tiny = BUF_INIT(2);
    assert_int_equal(url_unescape(&tiny, STR("abc"), false), -1);
}

/* Whatever the bytes, escaping and unescaping gives them back. */
static void test_url__round_trip(void **state)
{
    char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    Str in = {all, sizeof all};
    CLEANUP_BUF Buf a = BUF_INIT(2000), b = BUF_INIT(2000);
    url_escape_segment(&a, in);
    assert_int_equal(url_unescape(&b, buf_str(&a), false), 0);
    assert_true(str_eq(buf_str(&b), in));
    buf_clear(&a), buf_clear(&b);
    url_escape_query(&a, in);
    assert_int_equal(url_unescape(&b, buf_str(&a), true), 0);
    assert_true(str_eq(buf_str(&b), in));
}

static void test_url__near(void **state)
{
    static const struct {
        const char *url;
        bool near;
    } all[] = {
        {"http://localhost:1/x", true},
        {"http://127.0.0.1", true},
        {"http://[::1]:8000", true},
        {"http://api.team.svc:8000", true},
        {"http://a.svc.cluster.local", true},
        {"http://api.example.com", false},
        {"http://127.0.0.1.example.com", false},
        {"http://svc", false},
        {"http://a.svc.example.com", false},
        {"http://notlocalhost", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        Url u;
        assert_int_equal(url_parse(str_from(all[i].url), &u, NULL), 0);
        assert_int_equal(url_is_near(&u), all[i].near);
    }
}

int test_url_group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url__parts),      cmocka_unit_test(test_url__refused),
        cmocka_unit_test(test_url__escapes),    cmocka_unit_test(test_url__unescape),
        cmocka_unit_test(test_url__round_trip), cmocka_unit_test(test_url__near),
    };
    return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
