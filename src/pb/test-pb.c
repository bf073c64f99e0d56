#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/buf.h"
#include "base/mem.h"
#include "pb/ambient.h"
#include "pb/pb.h"
#include "pb/reflection.h"

typedef Ambient__V1__Session Session;
typedef Ambient__V1__SessionMessage SessionMessage;
typedef Grpc__Reflection__V1__ServerReflectionResponse Reflection;

static void pack(const ProtobufCMessage *m, Buf *out)
{
    size_t size = pb_size(m);
    if (size == 0)
        return;
    uint8_t *p = buf_reserve(out, size);
    assert_int_equal(pb_pack(m, p), size);
    buf_commit(out, size);
}

static void assert_packs_to(const ProtobufCMessage *m, Str want)
{
    CLEANUP_BUF Buf b = BUF_INIT(1 << 20);
    pack(m, &b);
    assert_int_equal(b.len, want.len);
    if (want.len > 0)
        assert_memory_equal(b.data, want.ptr, want.len);
}

static void test_pack__example_of_the_contract(void **state)
{
    Ambient__V1__WatchSessionMessagesRequest m = AMBIENT__V1__WATCH_SESSION_MESSAGES_REQUEST__INIT;
    CLEANUP_FREE char *id = xstrdup("ab");
    m.session_id = id;
    m.after_seq = 5; /* has_ is not asked for: a plain proto3 field */
    assert_packs_to(&m.base, STR("\x0a\x02"
                                 "ab\x10\x05"));
}

static void test_pack__presence(void **state)
{
    CLEANUP_FREE char *empty = xstrdup("");
    SessionMessage plain = AMBIENT__V1__SESSION_MESSAGE__INIT;
    plain.payload = empty; /* equal to the default, though another pointer */
    plain.has_seq = 1;
    assert_packs_to(&plain.base, STR(""));
    plain.id = NULL;
    assert_packs_to(&plain.base, STR(""));

    Session s = AMBIENT__V1__SESSION__INIT;
    assert_packs_to(&s.base, STR(""));
    s.prompt = empty; /* with presence: sent, although empty */
    s.has_timeout = 1;
    assert_packs_to(&s.base, STR("\x22\x00\x50\x00"));
}

static void test_pack__negative_numbers_and_doubles(void **state)
{
    Session s = AMBIENT__V1__SESSION__INIT;
    s.has_timeout = 1;
    s.timeout = -1;
    s.has_llm_temperature = 1;
    s.llm_temperature = 1.0;
    assert_packs_to(&s.base, STR("\x50\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x61\0\0\0\0\0\0\xf0\x3f"));
}

static ProtobufCMessage *unpack(const ProtobufCMessageDescriptor *d, Str bytes)
{
    Err err = {0};
    ProtobufCMessage *m = pb_unpack_checked(d, bytes, &err);
    assert_true(m ? err.code == 0 : err.code != 0);
    return m;
}

static void test_unpack__defaults_and_presence(void **state)
{
    CLEANUP(pb_freep) Session *s = (Session *)unpack(&ambient__v1__session__descriptor, STR("\x22\x00"));
    assert_string_equal(s->name, "");
    assert_string_equal(s->prompt, "");
    assert_null(s->repo_url);
    assert_null(s->metadata);
    assert_false(s->has_timeout);
}

static void test_unpack__any_order_last_wins_submessages_merge(void **state)
{
    const Str bytes = STR("\x12\x01"
                          "x"
                          "\x0a\x03\x0a\x01"
                          "a"
                          "\x12\x01"
                          "y"
                          "\x0a\x03\x22\x01"
                          "K"
                          "\x50\x01\x50\x02");
    CLEANUP(pb_freep) Session *s = (Session *)unpack(&ambient__v1__session__descriptor, bytes);
    assert_string_equal(s->name, "y");
    assert_string_equal(s->metadata->id, "a");
    assert_string_equal(s->metadata->kind, "K");
    assert_int_equal(s->timeout, 2);
}

static void test_unpack__unknown_fields_and_other_wire_types_are_skipped(void **state)
{
    const Str bytes = STR("\xa2\x1f\x01z"    /* 500: bytes */
                          "\xa0\x1f\x80\x01" /* 500: varint */
                          "\xa1\x1f"
                          "12345678" /* 500: 64 bits */
                          "\xa5\x1f"
                          "1234"                             /* 500: 32 bits */
                          "\xa3\x1f\x0b\x0c\x08\x01\xa4\x1f" /* 500: a group with a group and a field */
                          "\x48\x01"                         /* 9 is reserved */
                          "\x10\x07"                         /* name, as a varint */
                          "\x12\x01n");
    CLEANUP(pb_freep) Session *s = (Session *)unpack(&ambient__v1__session__descriptor, bytes);
    assert_string_equal(s->name, "n");
    assert_int_equal(s->base.n_unknown_fields, 0);
}

static void test_unpack__malformed(void **state)
{
    static const Str rows[] = {
        {"\x0a", 1}, /* no length */
        {"\x12\x05"
         "abc",
         5},                                                      /* length beyond the end */
        {"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},     /* huge length */
        {"\x50", 1},                                              /* no value */
        {"\x50\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11},     /* 65 bits */
        {"\x50\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12}, /* eleven bytes */
        {"\x00\x01", 2},                                          /* field 0 */
        {"\xfa\xff\xff\xff\x7f\x00", 6},                          /* field beyond 2^29-1 */
        {"\x61"
         "1234567",
         8},             /* short double */
        {"\x0b", 1},     /* group without end */
        {"\x0c", 1},     /* end without group */
        {"\x0b\x14", 2}, /* end of another group */
        {"\x0e", 1},     /* wire type 6 */
        {"\x0f", 1},
        {"\x12\x02\xc3\x28", 4},     /* not UTF-8 */
        {"\x12\x03\xed\xa0\x80", 5}, /* a surrogate */
        {"\x12\x02"
         "a\0",
         4},                     /* NUL */
        {"\x0a\x02\x0a\x05", 4}, /* broken inside */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_null(unpack(&ambient__v1__session__descriptor, rows[i]));
}

static void test_unpack__deep_groups(void **state)
{
    char bytes[2 * PB_DEPTH_MAX + 4];
    memset(bytes, 0x0b, PB_DEPTH_MAX);
    memset(bytes + PB_DEPTH_MAX, 0x0c, PB_DEPTH_MAX);
    CLEANUP(pb_freep)
    void *ok = unpack(&ambient__v1__get_session_request__descriptor, (Str){bytes, 2 * PB_DEPTH_MAX});
    assert_non_null(ok);
    memset(bytes, 0x0b, PB_DEPTH_MAX + 1);
    memset(bytes + PB_DEPTH_MAX + 1, 0x0c, PB_DEPTH_MAX + 1);
    assert_null(unpack(&ambient__v1__get_session_request__descriptor, (Str){bytes, 2 * PB_DEPTH_MAX + 2}));
}

/* Two bytes of input make a structure of hundreds: the budget ends it. */
static void test_unpack__memory_is_bounded_by_the_input(void **state)
{
    size_t n = 1 << 20;
    CLEANUP_FREE char *bytes = xcalloc(n, 2);
    Err err = {0};
    for (size_t i = 0; i < n; i++)
        bytes[2 * i] = 0x0a; /* an empty item */
    assert_null(
        pb_unpack_checked(&ambient__v1__list_sessions_response__descriptor, (Str){bytes, 2 * n}, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    CLEANUP(pb_freep)
    Ambient__V1__ListSessionsResponse *few = (Ambient__V1__ListSessionsResponse *)unpack(
        &ambient__v1__list_sessions_response__descriptor, (Str){bytes, 2 * 100});
    assert_int_equal(few->n_items, 100);
}

static void test_unpack__oneof_switches_and_repeated_grow(void **state)
{
    /* list_services_response of two, then an error instead, then numbers packed and not. */
    const Str bytes = STR("\x32\x0a\x0a\x03\x0a\x01"
                          "a\x0a\x03\x0a\x01"
                          "b\x3a\x02\x08\x05");
    CLEANUP(pb_freep)
    Reflection *r =
        (Reflection *)unpack(&grpc__reflection__v1__server_reflection_response__descriptor, bytes);
    assert_int_equal(r->message_response_case,
                     GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE);
    assert_int_equal(r->error_response->error_code, 5);
    const Str numbers = STR("\x12\x03\x01\x02\x03\x10\x04\x12\x02\x80\x01");
    CLEANUP(pb_freep)
    Grpc__Reflection__V1__ExtensionNumberResponse *e =
        (Grpc__Reflection__V1__ExtensionNumberResponse *)unpack(
            &grpc__reflection__v1__extension_number_response__descriptor, numbers);
    assert_int_equal(e->n_extension_number, 5);
    assert_int_equal(e->extension_number[3], 4);
    assert_int_equal(e->extension_number[4], 128);
    CLEANUP_BUF Buf b = BUF_INIT(100);
    pack(&e->base, &b);
    assert_true(str_eq(buf_str(&b), STR("\x12\x06\x01\x02\x03\x04\x80\x01")));
}

static void test_round_trip__session_with_everything(void **state)
{
    Session s = AMBIENT__V1__SESSION__INIT;
    Ambient__V1__ObjectReference ref = AMBIENT__V1__OBJECT_REFERENCE__INIT;
    Google__Protobuf__Timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    CLEANUP_FREE char *text = xstrdup("text \xe2\x98\xba");
    t.seconds = -5;
    t.nanos = 999999999;
    ref.id = ref.kind = ref.href = text;
    ref.created_at = ref.updated_at = &t;
    s.metadata = &ref;
    s.start_time = s.completion_time = &t;
    for (unsigned i = 0; i < s.base.descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &s.base.descriptor->fields[i];
        if (f->type == PROTOBUF_C_TYPE_STRING)
            *(char **)((char *)&s + f->offset) = text;
    }
    s.has_timeout = s.has_llm_temperature = s.has_llm_max_tokens = s.has_sdk_restart_count = 1;
    s.timeout = INT32_MIN;
    s.llm_temperature = 0.7;
    s.llm_max_tokens = INT32_MAX;
    CLEANUP_BUF Buf b = BUF_INIT(1 << 20), again = BUF_INIT(1 << 20);
    pack(&s.base, &b);
    CLEANUP(pb_freep) Session *back = (Session *)unpack(&ambient__v1__session__descriptor, buf_str(&b));
    pack(&back->base, &again);
    assert_true(str_eq(buf_str(&b), buf_str(&again)));
    assert_int_equal(back->metadata->created_at->seconds, -5);
    assert_string_equal(back->agent_id, text);
    /* and the generated decoder reads the same */
    Session *theirs = ambient__v1__session__unpack(NULL, b.len, (const uint8_t *)b.data);
    assert_non_null(theirs);
    assert_string_equal(theirs->kube_namespace, text);
    ambient__v1__session__free_unpacked(theirs, NULL);
}

static void test_descriptor_set__names_all_files(void **state)
{
    Str rest = pb_descriptor_set();
    PbField f;
    unsigned files = 0;
    while (pb_field_next(&rest, &f) > 0)
        files += f.number == 1 && f.type == PB_LEN;
    assert_int_equal(files, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack__example_of_the_contract),
        cmocka_unit_test(test_pack__presence),
        cmocka_unit_test(test_pack__negative_numbers_and_doubles),
        cmocka_unit_test(test_unpack__defaults_and_presence),
        cmocka_unit_test(test_unpack__any_order_last_wins_submessages_merge),
        cmocka_unit_test(test_unpack__unknown_fields_and_other_wire_types_are_skipped),
        cmocka_unit_test(test_unpack__malformed),
        cmocka_unit_test(test_unpack__deep_groups),
        cmocka_unit_test(test_unpack__memory_is_bounded_by_the_input),
        cmocka_unit_test(test_unpack__oneof_switches_and_repeated_grow),
        cmocka_unit_test(test_round_trip__session_with_everything),
        cmocka_unit_test(test_descriptor_set__names_all_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
