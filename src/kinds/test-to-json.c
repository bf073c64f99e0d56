#include "test-internal.h"
#include "base/mem.h"

static Obj *new_project(const char *id)
{
    Obj *o = obj_new(&kind_project);
    obj_set_str(o, FIELD_ID, str_from(id));
    obj_set_str(o, PROJECT_NAME, str_from(id));
    obj_set_time(o, FIELD_CREATED_AT, (WallUsec){INT64_C(1775001600500000)});
    obj_set_time(o, FIELD_UPDATED_AT, (WallUsec){INT64_C(1775001600000001)});
    return o;
}

static void test_object__keys_alphabetical_nulls_omitted_html_escaped(void **state)
{
    CLEANUP(obj_freep) Obj *o = new_project("demo");
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    obj_set_str(o, PROJECT_DESCRIPTION, STR("<a> & \"b\"\n"));
    obj_set_str(o, PROJECT_STATUS, STR(""));
    obj_set_null(o, PROJECT_PROMPT);
    obj_set_str(o, PROJECT_LABELS, STR("{\"env\":\"prod\"}"));
    obj_set_str(o, PROJECT_OWNER, STR("alice"));
    obj_to_json(o, &b, NULL);
    assert_string_equal(
        b.data, "{\"created_at\":\"2026-04-01T00:00:00.500000Z\",\"description\":\"\\u003ca\\u003e \\u0026 "
                "\\\"b\\\"\\n\",\"href\":\"/api/ambient/v1/projects/demo\",\"id\":\"demo\","
                "\"kind\":\"Project\",\"labels\":\"{\\\"env\\\":\\\"prod\\\"}\",\"name\":\"demo\","
                "\"status\":\"\",\"updated_at\":\"2026-04-01T00:00:00.000001Z\"}");
}

static void test_object__numbers_and_bools(void **state)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_session);
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    obj_set_str(o, FIELD_ID, STR("2abCdEfGhIjKlMnOpQrStUvWxYz"));
    obj_set_int(o, SESSION_TIMEOUT, -5);
    obj_set_double(o, SESSION_LLM_TEMPERATURE, 0.7);
    obj_set_bool(o, SESSION_INTERACTIVE, true);
    obj_set_str(o, SESSION_RUN_ID, STR("internal"));
    obj_to_json(o, &b, NULL);
    assert_string_equal(b.data,
                        "{\"href\":\"/api/ambient/v1/sessions/2abCdEfGhIjKlMnOpQrStUvWxYz\","
                        "\"id\":\"2abCdEfGhIjKlMnOpQrStUvWxYz\",\"interactive\":true,\"kind\":\"Session\","
                        "\"llm_temperature\":0.7,\"timeout\":-5}");
}

static void test_always_fields__are_shown_as_zero(void **state)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_agent);
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    obj_to_json(o, &b, NULL);
    assert_string_equal(b.data,
                        "{\"href\":\"/api/ambient/v1/agents/\",\"kind\":\"Agent\",\"llm_max_tokens\":0,"
                        "\"llm_model\":\"\",\"llm_temperature\":0,\"owner_user_id\":\"\"}");
}

static void test_show_null_fields__are_shown_as_null(void **state)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_role_binding);
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    obj_set_str(o, ROLE_BINDING_PROJECT_ID, STR("p"));
    obj_to_json(o, &b, NULL);
    assert_string_equal(b.data, "{\"agent_id\":null,\"credential_id\":null,"
                                "\"href\":\"/api/ambient/v1/role_bindings/\",\"kind\":\"RoleBinding\","
                                "\"project_id\":\"p\",\"session_id\":null,\"user_id\":null}");
}

static void test_href__of_a_strange_id_is_escaped(void **state)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_user);
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    obj_set_str(o, FIELD_ID, STR("a\"<b"));
    obj_to_json(o, &b, NULL);
    assert_string_equal(b.data, "{\"href\":\"/api/ambient/v1/users/a\\\"\\u003cb\",\"id\":\"a\\\"\\u003cb\","
                                "\"kind\":\"User\"}");
}

static void test_list__has_the_envelope(void **state)
{
    Obj *items[] = {obj_new(&kind_user), obj_new(&kind_user)};
    ObjList l = {.ptr = items, .len = 2, .page = 3, .total = 9};
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    bool *mask = NULL;
    assert_int_equal(field_mask_parse(&kind_user, STR("name"), &mask, NULL), 0);
    obj_set_str(items[0], FIELD_ID, STR("a"));
    obj_set_str(items[1], USER_NAME, STR("n"));
    obj_list_to_json(&kind_user, &l, &b, mask);
    assert_string_equal(b.data,
                        "{\"items\":[{\"id\":\"a\"},{\"name\":\"n\"}],\"kind\":\"UserList\",\"page\":3,"
                        "\"size\":2,\"total\":9}");
    free(mask);
    obj_free(items[0]);
    obj_free(items[1]);
    buf_clear(&b);
    obj_list_to_json(&kind_user, &(ObjList){.page = 1}, &b, NULL);
    assert_string_equal(b.data, "{\"items\":[],\"kind\":\"UserList\",\"page\":1,\"size\":0,\"total\":0}");
}

static void test_fields__select_and_refuse(void **state)
{
    bool *mask = NULL;
    Err err;
    assert_int_equal(field_mask_parse(&kind_session, STR("name, phase,,kind"), &mask, &err), 0);
    assert_true(mask[FIELD_ID] && mask[SESSION_NAME] && mask[SESSION_PHASE] &&
                mask[MASK_KIND(&kind_session)]);
    assert_false(mask[SESSION_PROMPT] || mask[MASK_HREF(&kind_session)] || mask[FIELD_CREATED_AT]);
    free(mask);
    assert_int_equal(field_mask_parse(&kind_session, STR("name,foo,run_id"), &mask, &err), -ERR_INVALID);
    assert_string_equal(err.msg, "The following field(s) doesn't exist in `Session`: foo, run_id");
    assert_int_equal(field_mask_parse(&kind_project, STR("display_name"), &mask, &err), -ERR_INVALID);
    assert_int_equal(field_mask_parse(&kind_session, STR("  "), &mask, &err), 0);
    assert_null(mask);
}

static void test_masked_to_nothing__is_an_empty_object(void **state)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_user);
    CLEANUP_BUF Buf b = BUF_INIT(64);
    bool *mask = NULL;
    assert_int_equal(field_mask_parse(&kind_user, STR("email"), &mask, NULL), 0);
    obj_to_json(o, &b, mask);
    assert_string_equal(b.data, "{}");
    free(mask);
}

static void test_answer__is_what_from_answer_reads(void **state)
{
    CLEANUP(obj_freep) Obj *o = new_project("demo");
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    CLEANUP_JSON json_t *j = NULL;
    CLEANUP(obj_freep) Obj *back = NULL;
    obj_set_str(o, PROJECT_DESCRIPTION, STR("<\xc3\xa9>"));
    obj_to_json(o, &b, NULL);
    assert_int_equal(json_parse(buf_str(&b), &j, NULL), 0);
    assert_int_equal(obj_from_answer(&kind_project, j, &back, NULL), 0);
    for (int i = 0; i < (int)kind_project.n_fields; i++)
        assert_true(obj_value_equal(o, back, i));
}

int run_to_json_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_object__keys_alphabetical_nulls_omitted_html_escaped),
        cmocka_unit_test(test_object__numbers_and_bools),
        cmocka_unit_test(test_always_fields__are_shown_as_zero),
        cmocka_unit_test(test_show_null_fields__are_shown_as_null),
        cmocka_unit_test(test_href__of_a_strange_id_is_escaped),
        cmocka_unit_test(test_list__has_the_envelope),
        cmocka_unit_test(test_fields__select_and_refuse),
        cmocka_unit_test(test_masked_to_nothing__is_an_empty_object),
        cmocka_unit_test(test_answer__is_what_from_answer_reads),
    };
    return cmocka_run_group_tests_name("to-json", tests, NULL, NULL);
}
