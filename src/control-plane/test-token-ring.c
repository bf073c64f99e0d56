/* The ring of keys as a Secret has it: what is read, what opens, what would be written. */
#include "test-internal.h"

#include <string.h>
#include "base/mem.h"
#include "token-ring.h"

#define BITS 2048 /* enough for this, and quickly made */
#define KEYS 3

static RsaKey *keys[KEYS];

static int make_keys(void **state)
{
    for (size_t i = 0; i < KEYS; i++)
        if (rsa_key_new(BITS, &keys[i], NULL) < 0)
            return -1;
    return 0;
}

static int free_keys(void **state)
{
    for (size_t i = 0; i < KEYS; i++)
        rsa_key_free(keys[i]);
    return 0;
}

static void put(json_t *data, const char *name, const RsaKey *key)
{
    CLEANUP_BUF Buf pem = BUF_INIT(65536), text = BUF_INIT(65536);
    int rc = strcmp(name, "public.pem") == 0 ? rsa_key_write_public(key, &pem, NULL)
                                             : rsa_key_write_private(key, &pem, NULL);
    assert_int_equal(rc, 0);
    base64_write(&text, pem.data, pem.len);
    json_object_set_new(data, name, json_strv(buf_str(&text)));
}

/* keys[0] is the newest; the others are at these places, 0 = not there. */
static void read_ring(unsigned second, unsigned third, TokenRing *ret)
{
    CLEANUP_JSON json_t *secret = json_pack("{s:{}}", "data");
    json_t *data = json_get_obj(secret, "data");
    const unsigned places[] = {second, third};
    put(data, "private.pem", keys[0]);
    put(data, "public.pem", keys[0]);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        char name[32];
        snprintf(name, sizeof(name), "private-%u.pem", places[i]);
        if (places[i])
            put(data, name, keys[i + 1]);
    }
    json_object_set_new(data, "private-x.pem", json_string("no key"));
    json_object_set_new(data, "private-9.pem", json_string("no key"));
    json_object_set_new(data, "private-.pem", json_string("no key"));
    assert_int_equal(token_ring_read(secret, ret, NULL), 0);
}

static bool opens(const TokenRing *r, const RsaKey *key)
{
    CLEANUP_BUF Buf sealed = BUF_INIT(4096), plain = BUF_INIT(4096);
    assert_int_equal(rsa_oaep_seal(key, STR("a-session"), &sealed, NULL), 0);
    return token_ring_open(r, buf_str(&sealed), &plain) == 0 && str_eqz(buf_str(&plain), "a-session");
}

static void test_ring__the_newest_comes_first_and_all_open(void **state)
{
    TokenRing r = {0};
    read_ring(1, 2, &r);
    assert_int_equal(r.keys.len, 3);
    assert_int_equal(r.keys.ptr[0].place, 0);
    assert_int_equal(r.keys.ptr[1].place, 2); /* the younger one */
    assert_int_equal(r.keys.ptr[2].place, 1);
    for (size_t i = 0; i < KEYS; i++)
        assert_true(opens(&r, keys[i]));
    assert_ptr_equal(token_ring_find(&r, r.keys.ptr[2].id), &r.keys.ptr[2]);
    assert_null(token_ring_find(&r, "0123456789abcdef"));
    token_ring_done(&r);
    read_ring(0, 0, &r);
    assert_int_equal(r.keys.len, 1);
    assert_false(opens(&r, keys[1]));
    token_ring_done(&r);
}

static void test_ring__half_a_pair_is_none(void **state)
{
    static const char *const names[] = {"private.pem", "public.pem"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        TokenRing r = {0};
        Err err = {0};
        CLEANUP_JSON json_t *secret = json_pack("{s:{}}", "data");
        put(json_get_obj(secret, "data"), names[i], keys[0]);
        assert_int_equal(token_ring_read(secret, &r, &err), -ERR_INVALID);
        assert_int_equal(r.keys.len, 0);
        assert_null(token_ring_newest(&r));
    }
}

static void test_ring__another_key_takes_the_first_place(void **state)
{
    TokenRing r = {0}, after = {0};
    json_t *data = NULL;
    read_ring(4, 0, &r);
    assert_int_equal(token_ring_data(&r, keys[2], &data, NULL), 0);
    CLEANUP_JSON json_t *secret = json_pack("{s:O}", "data", data);
    assert_int_equal(json_object_size(data), 4);
    assert_int_equal(token_ring_read(secret, &after, NULL), 0);
    assert_int_equal(after.keys.len, 3);
    assert_int_equal(after.keys.ptr[1].place, 5); /* the one that was the newest */
    assert_string_equal(after.keys.ptr[1].id, r.keys.ptr[0].id);
    assert_int_equal(after.keys.ptr[2].place, 4);
    for (size_t i = 0; i < KEYS; i++)
        assert_true(opens(&after, keys[i]));
    token_ring_erase(data);
    token_ring_done(&r);
    token_ring_done(&after);
}

static void test_ring__what_it_holds_is_what_it_writes(void **state)
{
    TokenRing r = {0}, after = {0};
    json_t *data = NULL;
    read_ring(1, 7, &r);
    assert_int_equal(token_ring_data(&r, NULL, &data, NULL), 0);
    CLEANUP_JSON json_t *secret = json_pack("{s:O}", "data", data);
    assert_int_equal(token_ring_read(secret, &after, NULL), 0);
    assert_int_equal(after.keys.len, r.keys.len);
    for (size_t i = 0; i < r.keys.len; i++) {
        assert_string_equal(after.keys.ptr[i].id, r.keys.ptr[i].id);
        assert_int_equal(after.keys.ptr[i].place, r.keys.ptr[i].place);
    }
    token_ring_erase(data);
    token_ring_done(&r);
    token_ring_done(&after);
}

int run_token_ring_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring__the_newest_comes_first_and_all_open),
        cmocka_unit_test(test_ring__half_a_pair_is_none),
        cmocka_unit_test(test_ring__another_key_takes_the_first_place),
        cmocka_unit_test(test_ring__what_it_holds_is_what_it_writes),
    };
    return cmocka_run_group_tests_name("token-ring", tests, make_keys, free_keys);
}
