#include "test-internal.h"
#include <math.h>
#include "base/mem.h"
#include "pb/ambient.h"

static Obj *sample_session(void)
{
    Obj *o = obj_new(&kind_session);
    obj_set_str(o, FIELD_ID, STR("2abCdEfGhIjKlMnOpQrStUvWxYz"));
    obj_set_time(o, FIELD_CREATED_AT, (WallUsec){INT64_C(1775001600500000)});
    obj_set_time(o, FIELD_UPDATED_AT, (WallUsec){INT64_C(1775001600000001)});
    obj_set_str(o, SESSION_NAME, STR("n"));
    obj_set_str(o, SESSION_PROMPT, STR(""));
    obj_set_int(o, SESSION_TIMEOUT, 0);
    obj_set_double(o, SESSION_LLM_TEMPERATURE, 0.7);
    obj_set_str(o, SESSION_LABELS, STR("{}"));
    obj_set_str(o, SESSION_PHASE, STR("Running"));
    obj_set_time(o, SESSION_START_TIME, (WallUsec){-500000});
    obj_set_bool(o, SESSION_INTERACTIVE, true);
    return o;
}

static void test_to_pb__sets_what_is_set_and_the_reference(void **state)
{
    CLEANUP(obj_freep) Obj *o = sample_session();
    ProtobufCMessage *msg = NULL;
    assert_int_equal(obj_to_pb(o, &ambient__v1__session__descriptor, &msg, NULL), 0);
    Ambient__V1__Session *s = (Ambient__V1__Session *)msg;
    assert_string_equal(s->metadata->id, "2abCdEfGhIjKlMnOpQrStUvWxYz");
    assert_string_equal(s->metadata->kind, "Session");
    assert_string_equal(s->metadata->href, "/api/ambient/v1/sessions/2abCdEfGhIjKlMnOpQrStUvWxYz");
    assert_int_equal(s->metadata->created_at->seconds, 1775001600);
    assert_int_equal(s->metadata->created_at->nanos, 500000000);
    assert_int_equal(s->metadata->updated_at->nanos, 1000);
    assert_string_equal(s->name, "n");
    assert_string_equal(s->prompt, "");
    assert_null(s->repo_url);
    assert_true(s->has_timeout);
    assert_int_equal(s->timeout, 0);
    assert_false(s->has_llm_max_tokens);
    assert_true(s->llm_temperature == 0.7);
    assert_int_equal(s->start_time->seconds, -1);
    assert_int_equal(s->start_time->nanos, 500000000);
    assert_null(s->completion_time);
    pb_free(msg);
}

static void test_round_trip__through_the_wire(void **state)
{
    CLEANUP(obj_freep) Obj *o = sample_session();
    CLEANUP(obj_freep) Obj *back = NULL;
    ProtobufCMessage *msg = NULL;
    assert_int_equal(obj_to_pb(o, &ambient__v1__session__descriptor, &msg, NULL), 0);
    size_t len = pb_size(msg);
    CLEANUP_FREE uint8_t *bytes = xmalloc(len);
    assert_int_equal(pb_pack(msg, bytes), len);
    pb_free(msg);
    msg = pb_unpack_checked(&ambient__v1__session__descriptor, (Str){(char *)bytes, len}, NULL);
    assert_non_null(msg);
    assert_int_equal(obj_from_pb_resource(&kind_session, msg, &back, NULL), 0);
    for (int i = 0; i < (int)kind_session.n_fields; i++)
        if (i != SESSION_INTERACTIVE) /* there is no such field in the message */
            assert_true(obj_value_equal(o, back, i));
    assert_false(obj_has(back, SESSION_INTERACTIVE));
    pb_free(msg);
}

static void test_inbox__has_its_meta_fields_at_the_top(void **state)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_inbox_message);
    CLEANUP(obj_freep) Obj *back = NULL;
    ProtobufCMessage *msg = NULL;
    obj_set_str(o, FIELD_ID, STR("i"));
    obj_set_str(o, INBOX_BODY, STR("b"));
    obj_set_str(o, INBOX_PROJECT_ID, STR("internal"));
    obj_set_bool(o, INBOX_READ, false);
    obj_set_time(o, FIELD_CREATED_AT, (WallUsec){1});
    assert_int_equal(obj_to_pb(o, &ambient__v1__inbox_message__descriptor, &msg, NULL), 0);
    Ambient__V1__InboxMessage *m = (Ambient__V1__InboxMessage *)msg;
    assert_string_equal(m->id, "i");
    assert_string_equal(m->agent_id, "");
    assert_true(m->has_read);
    assert_non_null(m->created_at);
    assert_null(m->updated_at);
    assert_int_equal(obj_from_pb_resource(&kind_inbox_message, msg, &back, NULL), 0);
    assert_string_equal(obj_cstr(back, FIELD_ID), "i");
    assert_int_equal(obj_time(back, FIELD_CREATED_AT).us, 1);
    pb_free(msg);
}

static void test_project__display_name_is_never_answered(void **state)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_project);
    ProtobufCMessage *msg = NULL;
    obj_set_str(o, PROJECT_NAME, STR("p"));
    obj_set_str(o, PROJECT_DISPLAY_NAME, STR("old"));
    assert_int_equal(obj_to_pb(o, &ambient__v1__project__descriptor, &msg, NULL), 0);
    assert_null(((Ambient__V1__Project *)msg)->display_name);
    pb_free(msg);
}

static void test_to_pb__a_message_that_does_not_fit_is_our_fault(void **state)
{
    /* ListMeta.total is a number, and so is nothing called so here; ObjectReference.created_at is a
     * Timestamp. */
    CLEANUP(obj_freep) Obj *o = sample_session();
    ProtobufCMessage *msg = NULL;
    assert_int_equal(obj_to_pb(o, &ambient__v1__object_reference__descriptor, &msg, NULL), 0);
    pb_free(msg);
    obj_set_str(o, SESSION_CONDITIONS, STR("x"));
    static ProtobufCFieldDescriptor field;
    field = *protobuf_c_message_descriptor_get_field_by_name(&ambient__v1__session__descriptor, "timeout");
    field.name = "conditions";
    ProtobufCMessageDescriptor d = ambient__v1__session__descriptor;
    d.fields = &field;
    d.n_fields = 1;
    Err err;
    assert_int_equal(obj_to_pb(o, &d, &msg, &err), -ERR_INTERNAL);
}

static int from_request(const Kind *k, ObjMode mode, ProtobufCMessage *msg, Obj **ret, Err *err)
{
    int rc = obj_from_pb(k, mode, msg, ret, err);
    return rc == 0 && mode == OBJ_CREATE ? obj_finish_create(*ret, err) : rc;
}

static void test_create__takes_what_a_client_may_set(void **state)
{
    Ambient__V1__CreateSessionRequest r = AMBIENT__V1__CREATE_SESSION_REQUEST__INIT;
    char name[] = "n", eve[] = "eve", empty[] = "";
    CLEANUP(obj_freep) Obj *o = NULL;
    r.name = name;
    r.created_by_user_id = eve;
    r.project_id = empty;
    r.has_llm_max_tokens = true;
    r.llm_max_tokens = 7;
    assert_int_equal(from_request(&kind_session, OBJ_CREATE, &r.base, &o, NULL), 0);
    assert_string_equal(obj_cstr(o, SESSION_NAME), "n");
    assert_false(obj_has(o, SESSION_CREATED_BY_USER_ID));
    assert_int_equal(o->v[SESSION_PROJECT_ID].state, V_NULL);
    assert_int_equal(obj_int(o, SESSION_LLM_MAX_TOKENS, 0), 7);
    assert_true(obj_double(o, SESSION_LLM_TEMPERATURE, 0) == 0.7);
    assert_string_equal(obj_cstr(o, SESSION_LLM_MODEL), "claude-sonnet-4-6");
}

static void test_create__refusals(void **state)
{
    Err err;
    CLEANUP(obj_freep) Obj *o = NULL;
    Ambient__V1__CreateSessionRequest s = AMBIENT__V1__CREATE_SESSION_REQUEST__INIT;
    assert_int_equal(from_request(&kind_session, OBJ_CREATE, &s.base, &o, &err), -ERR_INVALID);
    assert_string_equal(err.msg, "name is required");
    CLEANUP_FREE char *name = xasprintf("%0256d", 0);
    s.name = name;
    assert_int_equal(from_request(&kind_session, OBJ_CREATE, &s.base, &o, &err), -ERR_INVALID);
    assert_string_equal(err.msg, "name exceeds maximum length of 255");
    Ambient__V1__CreateUserRequest u = AMBIENT__V1__CREATE_USER_REQUEST__INIT;
    u.username = name + 200;
    assert_int_equal(from_request(&kind_user, OBJ_CREATE, &u.base, &o, &err), -ERR_INVALID);
    assert_string_equal(err.msg, "name is required");
    Ambient__V1__CreateSessionRequest t = AMBIENT__V1__CREATE_SESSION_REQUEST__INIT;
    t.name = name + 200;
    t.has_llm_temperature = true;
    t.llm_temperature = NAN;
    assert_int_equal(from_request(&kind_session, OBJ_CREATE, &t.base, &o, &err), -ERR_INVALID);
    assert_string_equal(err.msg, "llm_temperature must be a finite number");
}

static void test_update__takes_present_fields_only(void **state)
{
    Ambient__V1__UpdateSessionRequest r = AMBIENT__V1__UPDATE_SESSION_REQUEST__INIT;
    char id[] = "i", empty[] = "", p[] = "other";
    CLEANUP(obj_freep) Obj *o = NULL;
    r.id = id;
    r.prompt = empty;
    r.project_id = p;
    assert_int_equal(from_request(&kind_session, OBJ_PATCH, &r.base, &o, NULL), 0);
    for (int i = 0; i < (int)kind_session.n_fields; i++)
        assert_int_equal(o->v[i].state, i == SESSION_PROMPT ? V_SET : V_ABSENT);
}

static void test_status__times_and_refusals(void **state)
{
    Err err;
    CLEANUP(obj_freep) Obj *o = NULL;
    char phase[] = "Running", bad[] = "X";
    Google__Protobuf__Timestamp ts = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Ambient__V1__UpdateSessionStatusRequest r = AMBIENT__V1__UPDATE_SESSION_STATUS_REQUEST__INIT;
    assert_int_equal(from_request(&kind_session, OBJ_STATUS, &r.base, &o, &err), -ERR_INVALID);
    assert_int_equal(strncmp(err.msg, "status patch body must set", 26), 0);
    r.phase = bad;
    assert_int_equal(from_request(&kind_session, OBJ_STATUS, &r.base, &o, &err), -ERR_INVALID);
    r.phase = phase;
    r.start_time = &ts;
    ts.seconds = 1;
    ts.nanos = 1999;
    assert_int_equal(from_request(&kind_session, OBJ_STATUS, &r.base, &o, &err), 0);
    assert_int_equal(obj_time(o, SESSION_START_TIME).us, 1000001);
    o = obj_free(o);
    static const struct {
        int64_t seconds;
        int32_t nanos;
    } out[] = {{INT64_MAX, 0},  {INT64_MIN, 0},    {0, -1},
               {0, 1000000000}, {253402300800, 0}, {-62135596801, 0}};
    for (size_t i = 0; i < ARRAY_LEN(out); i++) {
        ts.seconds = out[i].seconds;
        ts.nanos = out[i].nanos;
        assert_int_equal(from_request(&kind_session, OBJ_STATUS, &r.base, &o, &err), -ERR_INVALID);
        assert_string_equal(err.msg, "start_time is out of range");
    }
}

int run_pb_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_to_pb__sets_what_is_set_and_the_reference),
        cmocka_unit_test(test_round_trip__through_the_wire),
        cmocka_unit_test(test_inbox__has_its_meta_fields_at_the_top),
        cmocka_unit_test(test_project__display_name_is_never_answered),
        cmocka_unit_test(test_to_pb__a_message_that_does_not_fit_is_our_fault),
        cmocka_unit_test(test_create__takes_what_a_client_may_set),
        cmocka_unit_test(test_create__refusals),
        cmocka_unit_test(test_update__takes_present_fields_only),
        cmocka_unit_test(test_status__times_and_refusals),
    };
    return cmocka_run_group_tests_name("pb", tests, NULL, NULL);
}
