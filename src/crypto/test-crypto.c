#include "crypto/crypto.h"
#include "crypto/runner-token.h"
#include "crypto/keyring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void assert_hex(const void *data, size_t len, const char *want)
{
    CLEANUP_BUF Buf b = BUF_INIT(1000);
    hex_write(&b, data, len);
    assert_string_equal(buf_str(&b).ptr, want);
}

static void test_sha256__published_vectors(void **state)
{
    static const struct {
        const char *text, *digest;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    CLEANUP(sha256_freep) Sha256 *h = sha256_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t out[SHA256_LEN];
        Str text = str_from(cases[i].text);
        sha256(text, out);
        assert_hex(out, sizeof(out), cases[i].digest);
        for (size_t at = 0; at < text.len; at++)
            sha256_add(h, text.ptr + at, 1);
        sha256_final(h, out); /* the same object again and again */
        assert_hex(out, sizeof(out), cases[i].digest);
    }
    uint8_t out[SHA256_LEN];
    sha256(STR_NULL, out);
    assert_hex(out, sizeof(out), cases[0].digest);
}

/* RFC 4231, test cases 1, 2 and 6. */
static void test_hmac__rfc4231(void **state)
{
    char key[131];
    uint8_t out[SHA256_LEN];
    memset(key, 0x0b, 20);
    hmac_sha256((Str){key, 20}, STR("Hi There"), out);
    assert_hex(out, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_sha256(STR("Jefe"), STR("what do ya want for nothing?"), out);
    assert_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    hmac_sha256((Str){key, sizeof(key)}, STR("Test Using Larger Than Block-Size Key - Hash Key First"), out);
    assert_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    hmac_sha256(STR_NULL, STR_NULL, out);
    assert_hex(out, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

/* RFC 4648, section 10. */
static void test_base64__rfc4648(void **state)
{
    static const struct {
        const char *text, *base64;
    } cases[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_BUF Buf b = BUF_INIT(100), back = BUF_INIT(100);
        Str text = str_from(cases[i].text), base64 = str_from(cases[i].base64);
        base64_write(&b, text.ptr, text.len);
        assert_string_equal(buf_str(&b).ptr, cases[i].base64);
        assert_int_equal(base64_read(base64, &back), 0);
        assert_string_equal(buf_str(&back).ptr, cases[i].text);
        while (str_ends(base64, STR("=")))
            base64.len--;
        buf_clear(&back);
        assert_int_equal(base64_read(base64, &back), 0);
        assert_string_equal(buf_str(&back).ptr, cases[i].text);
        buf_clear(&b);
        base64url_write(&b, text.ptr, text.len);
        assert_true(str_eq(buf_str(&b), base64));
    }
    CLEANUP_BUF Buf b = BUF_INIT(100);
    base64_write(&b, "\xfb\xff\xfe", 3);
    base64url_write(&b, "\xfb\xff\xfe", 3);
    assert_string_equal(b.data, "+//+-__-");
    CLEANUP_BUF Buf back = BUF_INIT(100);
    assert_int_equal(base64_read(STR("+//+-__-"), &back), 0);
    assert_memory_equal(back.data, "\xfb\xff\xfe\xfb\xff\xfe", 6);
}

static void test_base64__refuses(void **state)
{
    static const char *const cases[] = {
        "Z",     "Zg=",    "Z===", "====", "=",     "Zg==Zg==", "Zm9=v",
        "Zm 9v", "Zm9v\n", "Zh==", "Zm9=", "Zm8==", "Zm9v=",    "Z\x80==",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_BUF Buf b = BUF_INIT(100);
        buf_addz(&b, "before");
        if (base64_read(str_from(cases[i]), &b) == 0)
            fail_msg("took %s", cases[i]);
        assert_string_equal(b.data, "before");
    }
    CLEANUP_BUF Buf small = BUF_INIT(2);
    assert_int_equal(base64_read(STR("Zm9v"), &small), -1);
}

static void test_base64__every_length_round_trips(void **state)
{
    uint8_t data[300];
    for (size_t len = 0; len <= sizeof(data); len++) {
        random_bytes(data, len);
        CLEANUP_BUF Buf a = BUF_INIT(1000), b = BUF_INIT(1000), back = BUF_INIT(1000);
        base64_write(&a, data, len);
        base64url_write(&b, data, len);
        assert_int_equal(base64_read(buf_str(&a), &back), 0);
        assert_int_equal(base64_read(buf_str(&b), &back), 0);
        assert_int_equal(back.len, 2 * len);
        if (len) {
            assert_memory_equal(back.data, data, len);
            assert_memory_equal(back.data + len, data, len);
        }
    }
}

/* Test case 16 of the GCM specification: key, nonce, plain text and additional data given. */
static void test_aead__opens_a_published_vector(void **state)
{
    static const uint8_t key[32] = {
        0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c, 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83, 0x08,
        0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c, 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83, 0x08,
    };
    static const uint8_t sealed[] = {
        0xca, 0xfe, 0xba, 0xbe, 0xfa, 0xce, 0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88, /* nonce */
        0x52, 0x2d, 0xc1, 0xf0, 0x99, 0x56, 0x7d, 0x07, 0xf4, 0x7f, 0x37, 0xa3, 0x2a, 0x84, 0x42, 0x7d,
        0x64, 0x3a, 0x8c, 0xdc, 0xbf, 0xe5, 0xc0, 0xc9, 0x75, 0x98, 0xa2, 0xbd, 0x25, 0x55, 0xd1, 0xaa,
        0x8c, 0xb0, 0x8e, 0x48, 0x59, 0x0d, 0xbb, 0x3d, 0xa7, 0xb0, 0x8b, 0x10, 0x56, 0x82, 0x88, 0x38,
        0xc5, 0xf6, 0x1e, 0x63, 0x93, 0xba, 0x7a, 0x0a, 0xbc, 0xc9, 0xf6, 0x62, /* text */
        0x76, 0xfc, 0x6e, 0xce, 0x0f, 0x4e, 0x17, 0x68, 0xcd, 0xdf, 0x88, 0x53, 0xbb, 0x2d, 0x55, 0x1b,
    };
    static const uint8_t aad[] = {0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xfe, 0xed,
                                  0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xab, 0xad, 0xda, 0xd2};
    CLEANUP_BUF Buf out = BUF_INIT(100);
    Err err = {0};
    Str s = {(const char *)sealed, sizeof(sealed)}, a = {(const char *)aad, sizeof(aad)};
    assert_int_equal(aead_open(key, s, a, &out, &err), 0);
    assert_hex(
        out.data, out.len,
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
        "b16aedf5aa0de657ba637b39");
}

static void test_aead__every_changed_bit_is_noticed(void **state)
{
    uint8_t key[32];
    random_bytes(key, sizeof(key));
    CLEANUP_BUF Buf sealed = BUF_INIT(1000);
    Err err = {0};
    Str plain = STR("a token that nobody may read"), aad = STR("credential/1");
    assert_int_equal(aead_seal(key, plain, aad, &sealed, &err), 0);
    assert_int_equal(sealed.len, plain.len + 28);
    assert_true(str_find(buf_str(&sealed), STR("token")) < 0);
    for (size_t bit = 0; bit < sealed.len * 8; bit++) {
        CLEANUP_BUF Buf out = BUF_INIT(1000);
        buf_addz(&out, "kept");
        sealed.data[bit / 8] = (char)(sealed.data[bit / 8] ^ (1 << bit % 8));
        assert_int_equal(aead_open(key, buf_str(&sealed), aad, &out, &err), -(int)ERR_CORRUPT);
        assert_string_equal(out.data, "kept");
        sealed.data[bit / 8] = (char)(sealed.data[bit / 8] ^ (1 << bit % 8));
    }
    for (size_t len = 0; len < sealed.len; len++) {
        CLEANUP_BUF Buf out = BUF_INIT(1000);
        assert_int_equal(aead_open(key, (Str){sealed.data, len}, aad, &out, &err), -(int)ERR_CORRUPT);
    }
    CLEANUP_BUF Buf out = BUF_INIT(1000);
    assert_int_equal(aead_open(key, buf_str(&sealed), STR("credential/2"), &out, &err), -(int)ERR_CORRUPT);
    key[31] ^= 1;
    assert_int_equal(aead_open(key, buf_str(&sealed), aad, &out, &err), -(int)ERR_CORRUPT);
    key[31] ^= 1;
    assert_int_equal(aead_open(key, buf_str(&sealed), aad, &out, &err), 0);
    assert_true(str_eq(buf_str(&out), plain));
}

static void test_aead__sealing_twice_differs_and_empty_works(void **state)
{
    uint8_t key[32] = {1};
    CLEANUP_BUF Buf a = BUF_INIT(100), b = BUF_INIT(100), out = BUF_INIT(100), small = BUF_INIT(27);
    assert_int_equal(aead_seal(key, STR_NULL, STR_NULL, &a, NULL), 0);
    assert_int_equal(aead_seal(key, STR(""), STR(""), &b, NULL), 0);
    assert_false(str_eq(buf_str(&a), buf_str(&b)));
    assert_int_equal(aead_open(key, buf_str(&a), STR_NULL, &out, NULL), 0);
    assert_int_equal(out.len, 0);
    Err err = {0};
    assert_int_equal(aead_seal(key, STR_NULL, STR_NULL, &small, &err), -(int)ERR_TOO_LARGE);
}

static void test_mem__equal_in_constant_time(void **state)
{
    assert_true(mem_equal_consttime("abc", "abc", 3));
    assert_false(mem_equal_consttime("abc", "abd", 3));
    assert_true(mem_equal_consttime(NULL, NULL, 0));
}

static RsaKey *rsa_key(void)
{
    RsaKey *k = NULL;
    assert_int_equal(rsa_key_new(2048, &k, NULL), 0);
    return k;
}

static void test_rsa__what_one_key_seals_only_that_key_opens(void **state)
{
    CLEANUP(rsa_key_freep) RsaKey *k = rsa_key();
    CLEANUP(rsa_key_freep) RsaKey *other = rsa_key();
    CLEANUP_BUF Buf sealed = BUF_INIT(1024), again = BUF_INIT(1024), out = BUF_INIT(1024);
    assert_int_equal(rsa_oaep_seal(k, STR("a session id"), &sealed, NULL), 0);
    assert_int_equal(sealed.len, 256);
    assert_int_equal(rsa_oaep_seal(k, STR("a session id"), &again, NULL), 0);
    assert_false(str_eq(buf_str(&sealed), buf_str(&again)));
    assert_int_equal(rsa_oaep_open(other, buf_str(&sealed), &out, NULL), -(int)ERR_INVALID);
    assert_int_equal(out.len, 0);
    assert_int_equal(rsa_oaep_open(k, buf_str(&sealed), &out, NULL), 0);
    assert_true(str_eqz(buf_str(&out), "a session id"));
    sealed.data[100] ^= 1;
    assert_int_equal(rsa_oaep_open(k, buf_str(&sealed), &out, NULL), -(int)ERR_INVALID);
    assert_int_equal(rsa_oaep_open(k, STR_NULL, &out, NULL), -(int)ERR_INVALID);
    assert_int_equal(rsa_oaep_open(k, STR("short"), &out, NULL), -(int)ERR_INVALID);
}

static void test_rsa__keys_survive_pem(void **state)
{
    CLEANUP(rsa_key_freep) RsaKey *k = rsa_key();
    CLEANUP(rsa_key_freep) RsaKey *private = NULL;
    CLEANUP(rsa_key_freep) RsaKey *public = NULL;
    CLEANUP_BUF Buf a = BUF_INIT(8192), b = BUF_INIT(8192), sealed = BUF_INIT(1024), out = BUF_INIT(1024);
    assert_int_equal(rsa_key_write_private(k, &a, NULL), 0);
    assert_int_equal(rsa_key_write_public(k, &b, NULL), 0);
    assert_true(str_starts(buf_str(&a), STR("-----BEGIN RSA PRIVATE KEY-----\n")));
    assert_true(str_starts(buf_str(&b), STR("-----BEGIN PUBLIC KEY-----\n")));
    assert_int_equal(rsa_key_read_private(buf_str(&a), &private, NULL), 0);
    assert_int_equal(rsa_key_read_public(buf_str(&b), &public, NULL), 0);
    assert_int_equal(rsa_oaep_seal(public, STR("x"), &sealed, NULL), 0);
    assert_int_equal(rsa_oaep_open(private, buf_str(&sealed), &out, NULL), 0);
    assert_true(str_eqz(buf_str(&out), "x"));
}

static void test_rsa__bad_keys_are_refused(void **state)
{
    static const char *const texts[] = {"", "no key",
                                        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"};
    RsaKey *k = NULL;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(rsa_key_read_public(str_from(texts[i]), &k, NULL), -(int)ERR_CORRUPT);
        assert_int_equal(rsa_key_read_private(str_from(texts[i]), &k, NULL), -(int)ERR_CORRUPT);
    }
    assert_int_equal(rsa_key_new(1024, &k, NULL), -(int)ERR_INVALID);
    assert_null(k);
}

/* ---- key ring ---- */

#define KEY_7 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY_8 "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA="
#define OWNER STR("2abCdEfGhIjKlMnOpQrStUvWxYz")

static KeyRing *ring_of(int64_t active)
{
    KeyRing *k = keyring_new();
    assert_int_equal(keyring_add(k, STR("8"), STR(KEY_8), NULL), 0);
    assert_int_equal(keyring_add(k, STR("7"), STR(KEY_7), NULL), 0);
    assert_int_equal(keyring_activate(k, active, NULL), 0);
    return k;
}

/* Contract: rest-governance-and-auth.md 4.1. */
static void test_keyring__opens_the_contracts_vector(void **state)
{
    CLEANUP(keyring_freep) KeyRing *k = ring_of(7);
    CLEANUP(secret_freep) Secret *s = NULL;
    Str stored = STR("enc:v7:oKGio6SlpqeoqaqrgXAMciCzY9ISCeIVqqaDS2Ug5YBWfO8E3C7c");
    assert_int_equal(keyring_open(k, stored, OWNER, &s, NULL), 0);
    assert_true(secret_equals(s, STR("ghp_example")));
}

static void test_keyring__seals_with_the_active_key_and_opens_all(void **state)
{
    CLEANUP(keyring_freep) KeyRing *k = ring_of(7);
    CLEANUP_BUF Buf old = BUF_INIT(4096), new = BUF_INIT(4096);
    CLEANUP(secret_freep) Secret *a = NULL, *b = NULL;
    int64_t version = -1;
    assert_int_equal(keyring_seal(k, STR("s3cret"), OWNER, &old, NULL), 0);
    assert_int_equal(keyring_activate(k, 8, NULL), 0);
    assert_int_equal(keyring_seal(k, STR("s3cret"), OWNER, &new, NULL), 0);
    assert_int_equal(sealed_form(buf_str(&old), &version), SEALED_GOOD);
    assert_int_equal(version, 7);
    assert_int_equal(sealed_form(buf_str(&new), &version), SEALED_GOOD);
    assert_int_equal(version, 8);
    assert_int_equal(keyring_open(k, buf_str(&old), OWNER, &a, NULL), 0);
    assert_int_equal(keyring_open(k, buf_str(&new), OWNER, &b, NULL), 0);
    assert_true(secret_equals(a, STR("s3cret")) && secret_equals(b, STR("s3cret")));
}

static void test_keyring__another_owner_or_a_missing_key_opens_nothing(void **state)
{
    CLEANUP(keyring_freep) KeyRing *k = ring_of(7);
    CLEANUP_BUF Buf sealed = BUF_INIT(4096);
    Secret *s = NULL;
    assert_int_equal(keyring_seal(k, STR("s3cret"), OWNER, &sealed, NULL), 0);
    assert_int_equal(keyring_open(k, buf_str(&sealed), STR("other"), &s, NULL), -(int)ERR_CORRUPT);
    assert_int_equal(keyring_open(NULL, buf_str(&sealed), OWNER, &s, NULL), -(int)ERR_PRECONDITION);
    assert_null(s);
}

static void test_keyring__what_says_that_it_is_sealed_is_never_plain_text(void **state)
{
    static const char *const damaged[] = {
        "enc:",
        "enc:v",
        "enc:v7",
        "enc:v7:",
        "enc:v7:AAAA",
        "enc:vx:oKGio6SlpqeoqaqrgXAMciCzY9ISCeIVqqaDS2Ug",
        "enc:v7:oKGio6Sl!qeoqaqrgXAMciCzY9ISCeIVqqaDS2Ug5YBWfO8E3C7c",
        "enc:v-7:oKGio6SlpqeoqaqrgXAMciCzY9IS",
    };
    CLEANUP(keyring_freep) KeyRing *k = ring_of(7);
    CLEANUP(secret_freep) Secret *plain = NULL;
    Secret *s = NULL;
    for (size_t i = 0; i < ARRAY_LEN(damaged); i++) {
        assert_int_equal(sealed_form(str_from(damaged[i]), NULL), SEALED_DAMAGED);
        assert_int_equal(keyring_open(k, str_from(damaged[i]), OWNER, &s, NULL), -(int)ERR_CORRUPT);
    }
    assert_null(s);
    assert_int_equal(sealed_form(STR("ghp_enc:v7"), NULL), SEALED_NOT);
    assert_int_equal(keyring_open(NULL, STR("ghp_x"), OWNER, &plain, NULL), 0);
    assert_true(secret_equals(plain, STR("ghp_x")));
}

static void test_keyring__bad_keys_are_refused_and_not_shown(void **state)
{
    static const struct {
        const char *version, *key;
        ErrCode code;
    } rows[] = {
        {"7", KEY_8, ERR_CONFLICT},  {"07", KEY_8, ERR_CONFLICT},      {"", KEY_8, ERR_INVALID},
        {"one", KEY_8, ERR_INVALID}, {"-1", KEY_8, ERR_INVALID},       {"99999999999", KEY_8, ERR_INVALID},
        {"9", "AAAA", ERR_INVALID},  {"9", "no!base!64", ERR_INVALID}, {"9", "", ERR_INVALID},
    };
    CLEANUP(keyring_freep) KeyRing *k = ring_of(7);
    CLEANUP_BUF Buf text = BUF_INIT(64);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Err err = {0};
        assert_int_equal(keyring_add(k, str_from(rows[i].version), str_from(rows[i].key), &err),
                         -(int)rows[i].code);
        assert_null(*rows[i].key ? strstr(err.msg, rows[i].key) : NULL);
    }
    assert_int_equal(keyring_activate(k, 9, NULL), -(int)ERR_NOT_FOUND);
    assert_int_equal(keyring_active(k), 7);
    keyring_describe(k, &text);
    assert_true(str_eqz(buf_str(&text), "7 8"));
}

/* ---- runner tokens ---- */

/* printf 'ambient-runner\n2VqDSqnFBKcVcFxrEaBPJfkM9bJ' | openssl dgst -sha256 -hmac 0123456789abcdef */
static void test_runner_token__is_the_hmac(void **state)
{
    CLEANUP(secret_freep) Secret *key = secret_new(STR("0123456789abcdef"));
    CLEANUP(secret_freep) Secret *token = runner_token(key, STR("2VqDSqnFBKcVcFxrEaBPJfkM9bJ"));
    assert_true(
        secret_equals(token, STR("db00eaa83475335c5f896ee8d29d4a2d5e80edf01e38663f988d0119ce961991")));
}

static void test_runner_token__differs_by_session_and_key(void **state)
{
    CLEANUP(secret_freep) Secret *key = secret_new(STR("0123456789abcdef"));
    CLEANUP(secret_freep) Secret *other = secret_new(STR("0123456789abcdeg"));
    CLEANUP(secret_freep) Secret *a = runner_token(key, STR("a"));
    CLEANUP(secret_freep) Secret *b = runner_token(key, STR("b"));
    CLEANUP(secret_freep) Secret *c = runner_token(other, STR("a"));
    assert_false(secret_equals(a, secret_reveal(b)));
    assert_false(secret_equals(a, secret_reveal(c)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runner_token__is_the_hmac),
        cmocka_unit_test(test_runner_token__differs_by_session_and_key),
        cmocka_unit_test(test_sha256__published_vectors),
        cmocka_unit_test(test_hmac__rfc4231),
        cmocka_unit_test(test_base64__rfc4648),
        cmocka_unit_test(test_base64__refuses),
        cmocka_unit_test(test_base64__every_length_round_trips),
        cmocka_unit_test(test_aead__opens_a_published_vector),
        cmocka_unit_test(test_aead__every_changed_bit_is_noticed),
        cmocka_unit_test(test_aead__sealing_twice_differs_and_empty_works),
        cmocka_unit_test(test_keyring__opens_the_contracts_vector),
        cmocka_unit_test(test_keyring__seals_with_the_active_key_and_opens_all),
        cmocka_unit_test(test_keyring__another_owner_or_a_missing_key_opens_nothing),
        cmocka_unit_test(test_keyring__what_says_that_it_is_sealed_is_never_plain_text),
        cmocka_unit_test(test_keyring__bad_keys_are_refused_and_not_shown),
        cmocka_unit_test(test_mem__equal_in_constant_time),
        cmocka_unit_test(test_rsa__what_one_key_seals_only_that_key_opens),
        cmocka_unit_test(test_rsa__keys_survive_pem),
        cmocka_unit_test(test_rsa__bad_keys_are_refused),
    };
    return cmocka_run_group_tests_name("crypto", tests, NULL, NULL) != 0;
}
