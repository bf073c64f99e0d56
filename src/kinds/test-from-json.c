#include "test-internal.h"
#include "base/mem.h"

typedef struct Case {
    const Kind *kind;
    ObjMode mode;
    const char *body;
    ErrCode code; /* ERR_OK: accepted */
    const char *text;
} Case;

static void check_case(const Case *c)
{
    CLEANUP(obj_freep) Obj *o = NULL;
    Err err = {0};
    int rc = obj_from_json_text(c->kind, c->mode, str_from(c->body), &o, &err);
    if (rc == 0 && c->mode == OBJ_CREATE)
        rc = obj_finish_create(o, &err);
    if (rc != -(int)c->code || (c->text && strcmp(err.msg, c->text) != 0))
        print_error("body %s\n  got %d: %s\n", c->body, rc, err.msg);
    assert_int_equal(rc, -(int)c->code);
    if (c->text)
        assert_string_equal(err.msg, c->text);
}

static void check_cases(const Case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check_case(&cases[i]);
}

static void test_create__refuses_in_the_words_of_the_reference(void **state)
{
    static const Case cases[] = {
        {&kind_project, OBJ_CREATE, "", ERR_MALFORMED,
         "Invalid request format: unexpected end of JSON input"},
        {&kind_project, OBJ_CREATE, "null", ERR_MALFORMED,
         "Invalid request format: json: cannot unmarshal null into Go value of type map[string]interface {}"},
        {&kind_project, OBJ_CREATE, "[]", ERR_MALFORMED,
         "Invalid request format: json: cannot unmarshal array into Go value of type map[string]interface "
         "{}"},
        {&kind_project, OBJ_CREATE, "\"x\"", ERR_MALFORMED,
         "Invalid request format: json: cannot unmarshal string into Go value of type map[string]interface "
         "{}"},
        {&kind_project, OBJ_CREATE, "{}", ERR_MALFORMED,
         "Invalid request format: no value given for required property name"},
        {&kind_project, OBJ_CREATE, "{\"nme\":1}", ERR_MALFORMED,
         "Invalid request format: no value given for required property name"},
        {&kind_user, OBJ_CREATE, "{\"username\":\"u\"}", ERR_MALFORMED,
         "Invalid request format: no value given for required property name"},
        {&kind_agent, OBJ_CREATE, "{\"name\":\"a\"}", ERR_MALFORMED,
         "Invalid request format: no value given for required property project_id"},
        {&kind_inbox_message, OBJ_CREATE, "{\"body\":\"a\"}", ERR_MALFORMED,
         "Invalid request format: no value given for required property agent_id"},
        {&kind_project_settings, OBJ_CREATE, "{}", ERR_MALFORMED,
         "Invalid request format: no value given for required property project_id"},
        {&kind_project, OBJ_CREATE, "{\"name\":\"ab\",\"foo\":1}", ERR_MALFORMED,
         "Invalid request format: json: unknown field \"foo\""},
        {&kind_session, OBJ_CREATE, "{\"run_id\":\"x\"}", ERR_MALFORMED,
         "Invalid request format: json: unknown field \"run_id\""},
        {&kind_project, OBJ_CREATE, "{\"name\":5}", ERR_MALFORMED,
         "Invalid request format: json: cannot unmarshal number into Go struct field _Project.name of type "
         "string"},
        {&kind_session, OBJ_CREATE, "{\"name\":\"n\",\"timeout\":\"5\"}", ERR_MALFORMED,
         "Invalid request format: json: cannot unmarshal string into Go struct field _Session.timeout of "
         "type int32"},
        {&kind_session, OBJ_CREATE, "{\"name\":\"n\",\"timeout\":1.5}", ERR_MALFORMED,
         "Invalid request format: json: cannot unmarshal number 1.5 into Go struct field _Session.timeout of "
         "type "
         "int32"},
        {&kind_session, OBJ_CREATE, "{\"name\":\"n\",\"timeout\":2147483648}", ERR_MALFORMED,
         "Invalid request format: json: cannot unmarshal number 2147483648 into Go struct field "
         "_Session.timeout of "
         "type int32"},
        {&kind_session, OBJ_CREATE, "{\"name\":\"n\",\"timeout\":-2147483649}", ERR_MALFORMED, NULL},
        {&kind_session, OBJ_CREATE, "{\"name\":\"n\",\"llm_temperature\":true}", ERR_MALFORMED,
         "Invalid request format: json: cannot unmarshal bool into Go struct field _Session.llm_temperature "
         "of type "
         "float64"},
        {&kind_inbox_message, OBJ_CREATE, "{\"agent_id\":\"\",\"body\":\"b\",\"read\":\"yes\"}",
         ERR_MALFORMED,
         "Invalid request format: json: cannot unmarshal string into Go struct field _InboxMessage.read of "
         "type bool"},
        {&kind_session, OBJ_CREATE, "{\"llm_temperature\":1e16}", ERR_INVALID,
         "llm_temperature is out of range"},
        {&kind_session, OBJ_CREATE, "{\"name\":\"n\",\"labels\":5}", ERR_MALFORMED,
         "Invalid request format: json: cannot unmarshal number into Go struct field _Session.labels of type "
         "string"},
        {&kind_session, OBJ_CREATE, "{\"name\":\"n\",\"labels\":[]}", ERR_MALFORMED,
         "Invalid request format: json: cannot unmarshal array into Go struct field _Session.labels of type "
         "string"},
        {&kind_session, OBJ_CREATE, "{\"name\":\"n\",\"labels\":{\"a\":1}}", ERR_MALFORMED,
         "Invalid request format: json: cannot unmarshal number into Go struct field _Session.labels of type "
         "string"},
        /* the first fault in the order of the body */
        {&kind_project, OBJ_CREATE, "{\"zzz\":1,\"name\":5}", ERR_MALFORMED,
         "Invalid request format: json: unknown field \"zzz\""},
        {&kind_session, OBJ_CREATE, "{\"name\":\"n\",\"id\":\"x\"}", ERR_INVALID, "id must be empty"},
        {&kind_session, OBJ_CREATE, "{\"name\":\"n\",\"id\":5}", ERR_MALFORMED,
         "Invalid request format: json: cannot unmarshal number into Go struct field _Session.id of type "
         "string"},
        {&kind_session, OBJ_CREATE, "{\"name\":\"n\",\"id\":\"\"}", ERR_OK, NULL},
        {&kind_session, OBJ_CREATE, "{\"name\":\"n\",\"id\":null}", ERR_OK, NULL},
    };
    check_cases(cases, ARRAY_LEN(cases));
}

static void test_create__required_fields_must_not_be_empty(void **state)
{
    static const Case cases[] = {
        {&kind_session, OBJ_CREATE, "{\"name\":\"\"}", ERR_INVALID, "name is required"},
        {&kind_session, OBJ_CREATE, "{}", ERR_OK, NULL}, /* the server makes a name */
        {&kind_session, OBJ_CREATE, "{\"name\":null}", ERR_OK, NULL},
        {&kind_user, OBJ_CREATE, "{\"username\":\"\",\"name\":\"n\"}", ERR_INVALID, "username is required"},
        {&kind_user, OBJ_CREATE, "{\"username\":\"u\",\"name\":null}", ERR_INVALID, "name is required"},
        {&kind_agent, OBJ_CREATE, "{\"project_id\":\"\",\"name\":\"\"}", ERR_INVALID, "name is required"},
        {&kind_agent, OBJ_CREATE, "{\"project_id\":null,\"name\":\"a\"}", ERR_OK,
         NULL}, /* the path decides */
        {&kind_inbox_message, OBJ_CREATE, "{\"agent_id\":\"\",\"body\":\"\"}", ERR_INVALID,
         "body is required"},
        {&kind_project_settings, OBJ_CREATE, "{\"project_id\":\"\"}", ERR_INVALID, "project_id is required"},
        {&kind_project, OBJ_CREATE, "{\"name\":\"\"}", ERR_INVALID, "name is required"},
    };
    check_cases(cases, ARRAY_LEN(cases));
}

#define LENGTH_TEXT "project name must be between 2 and 63 characters"
#define PATTERN_TEXT                                                                                         \
    "project name must match DNS-1123 label format: lowercase alphanumeric and hyphens, must start with a "  \
    "letter and end with an alphanumeric character"
#define S62 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void test_create__required_text_sent_as_null_is_empty(void **state)
{
    CLEANUP(obj_freep) Obj *o = NULL;
    Err err = {0};
    const char *body = "{\"name\":\"n\",\"provider\":null}";
    assert_int_equal(obj_from_json_text(&kind_credential, OBJ_CREATE, str_from(body), &o, &err), 0);
    assert_int_equal(obj_finish_create(o, &err), 0);
    assert_true(obj_has(o, CREDENTIAL_PROVIDER));
    assert_string_equal(obj_cstr(o, CREDENTIAL_PROVIDER), "");
}

static void test_project_name__rules_hold_on_create_and_patch(void **state)
{
    static const Case cases[] = {
        {&kind_project, OBJ_CREATE, "{\"name\":\"a\"}", ERR_INVALID, LENGTH_TEXT},
        {&kind_project, OBJ_CREATE, "{\"name\":\"ab\"}", ERR_OK, NULL},
        {&kind_project, OBJ_CREATE, "{\"name\":\"" S62 "b\"}", ERR_OK, NULL},
        {&kind_project, OBJ_CREATE, "{\"name\":\"" S62 "bc\"}", ERR_INVALID, LENGTH_TEXT},
        {&kind_project, OBJ_CREATE, "{\"name\":\"a-9\"}", ERR_OK, NULL},
        {&kind_project, OBJ_CREATE, "{\"name\":\"9a\"}", ERR_INVALID, PATTERN_TEXT},
        {&kind_project, OBJ_CREATE, "{\"name\":\"-a\"}", ERR_INVALID, PATTERN_TEXT},
        {&kind_project, OBJ_CREATE, "{\"name\":\"a-\"}", ERR_INVALID, PATTERN_TEXT},
        {&kind_project, OBJ_CREATE, "{\"name\":\"aB\"}", ERR_INVALID, PATTERN_TEXT},
        {&kind_project, OBJ_CREATE, "{\"name\":\"a_b\"}", ERR_INVALID, PATTERN_TEXT},
        {&kind_project, OBJ_CREATE, "{\"name\":\"a b\"}", ERR_INVALID, PATTERN_TEXT},
        {&kind_project, OBJ_CREATE, "{\"name\":\"a\\u00e9\"}", ERR_INVALID, PATTERN_TEXT},
        {&kind_project, OBJ_PATCH, "{\"name\":\"A\"}", ERR_INVALID, LENGTH_TEXT},
        {&kind_project, OBJ_PATCH, "{\"name\":\"Ab\"}", ERR_INVALID, PATTERN_TEXT},
    };
    check_cases(cases, ARRAY_LEN(cases));
}

static Obj *parse_ok(const Kind *k, ObjMode mode, const char *body)
{
    Obj *o = NULL;
    Err err = {0};
    int rc = obj_from_json_text(k, mode, str_from(body), &o, &err);
    if (rc < 0)
        print_error("%s\n", err.msg);
    assert_int_equal(rc, 0);
    return o;
}

static void test_create__ignores_what_the_server_owns(void **state)
{
    CLEANUP(obj_freep)
    Obj *o = parse_ok(
        &kind_session, OBJ_CREATE,
        "{\"name\":\"n\",\"kind\":\"Foo\",\"href\":7,\"phase\":\"Running\",\"created_at\":\"x\",\"updated_"
        "at\":null,"
        "\"created_by_user_id\":\"eve\",\"kube_cr_name\":\"k\",\"start_time\":\"2026-01-01T00:00:00Z\"}");
    for (int i = 0; i < (int)kind_session.n_fields; i++)
        assert_int_equal(o->v[i].state, i == SESSION_NAME ? V_SET : V_ABSENT);
    CLEANUP(obj_freep)
    Obj *p = parse_ok(&kind_project, OBJ_CREATE, "{\"name\":\"ab\",\"display_name\":\"old clients\"}");
    assert_false(obj_has(p, PROJECT_DISPLAY_NAME));
}

static void test_create__takes_every_type(void **state)
{
    CLEANUP(obj_freep)
    Obj *o = parse_ok(
        &kind_session, OBJ_CREATE,
        "{\"name\":\"n \\u00fc \\\" <\",\"timeout\":-5,\"llm_temperature\":1,\"llm_max_tokens\":2147483647,"
        "\"interactive\":true,\"prompt\":\"\",\"project_id\":\"\",\"agent_id\":null}");
    assert_string_equal(obj_cstr(o, SESSION_NAME), "n \xc3\xbc \" <");
    assert_int_equal(obj_int(o, SESSION_TIMEOUT, 0), -5);
    assert_true(obj_double(o, SESSION_LLM_TEMPERATURE, 0) == 1.0);
    assert_int_equal(obj_int(o, SESSION_LLM_MAX_TOKENS, 0), INT32_MAX);
    assert_true(obj_bool(o, SESSION_INTERACTIVE, false));
    assert_true(obj_has(o, SESSION_PROMPT));
    assert_int_equal(o->v[SESSION_PROJECT_ID].state, V_NULL); /* sent: the header does not count */
    assert_int_equal(o->v[SESSION_AGENT_ID].state, V_NULL);
    assert_int_equal(o->v[SESSION_REPOS].state, V_ABSENT);
}

static void test_names__fold_case_as_go_does(void **state)
{
    CLEANUP(obj_freep) Obj *o = parse_ok(&kind_session, OBJ_CREATE, "{\"NAME\":\"n\",\"Llm_Model\":\"m\"}");
    assert_string_equal(obj_cstr(o, SESSION_NAME), "n");
    assert_string_equal(obj_cstr(o, SESSION_LLM_MODEL), "m");
    /* but not for the required keys */
    check_case(&(Case){&kind_project, OBJ_CREATE, "{\"NAME\":\"ab\"}", ERR_MALFORMED,
                       "Invalid request format: no value given for required property name"});
}

static void test_json_text__keeps_strings_and_canonicalises_values(void **state)
{
    CLEANUP(obj_freep)
    Obj *o = parse_ok(
        &kind_session, OBJ_CREATE,
        "{\"name\":\"n\",\"labels\":{\"b\":\"2\",\"a\":\"<1>\"},\"annotations\":\" {not json, kept\","
        "\"repos\":[ {\"url\":\"u\", \"branch\":null}, 0.5 ],\"environment_variables\":{}}");
    assert_string_equal(obj_cstr(o, SESSION_LABELS), "{\"a\":\"\\u003c1\\u003e\",\"b\":\"2\"}");
    assert_string_equal(obj_cstr(o, SESSION_ANNOTATIONS), " {not json, kept");
    assert_string_equal(obj_cstr(o, SESSION_REPOS), "[{\"branch\":null,\"url\":\"u\"},0.5]");
    assert_string_equal(obj_cstr(o, SESSION_ENVIRONMENT_VARIABLES), "{}");
}

static void test_defaults__fill_what_is_not_set(void **state)
{
    CLEANUP(obj_freep) Obj *o = parse_ok(&kind_session, OBJ_CREATE, "{\"name\":\"n\",\"llm_temperature\":0}");
    assert_int_equal(obj_finish_create(o, NULL), 0);
    assert_string_equal(obj_cstr(o, SESSION_LLM_MODEL), "claude-sonnet-4-6");
    assert_true(obj_double(o, SESSION_LLM_TEMPERATURE, 5) == 0);
    assert_int_equal(obj_int(o, SESSION_LLM_MAX_TOKENS, 0), 4000);
    assert_false(obj_has(o, SESSION_INTERACTIVE));

    CLEANUP(obj_freep)
    Obj *a = parse_ok(&kind_agent, OBJ_CREATE,
                      "{\"project_id\":\"\",\"name\":\"n\",\"llm_model\":\"\",\"llm_temperature\":-1,\"llm_"
                      "max_tokens\":-1}");
    assert_int_equal(obj_finish_create(a, NULL), 0);
    assert_string_equal(obj_cstr(a, AGENT_LLM_MODEL), "claude-sonnet-4-6");
    assert_true(obj_double(a, AGENT_LLM_TEMPERATURE, 5) == 0.7);
    assert_int_equal(obj_int(a, AGENT_LLM_MAX_TOKENS, 0), 4000);
}

static void test_patch__absent_null_and_empty_differ(void **state)
{
    CLEANUP(obj_freep)
    Obj *o = parse_ok(
        &kind_session, OBJ_PATCH,
        "{\"prompt\":null,\"repo_url\":\"\",\"workflow_id\":\"\",\"llm_model\":null,\"llm_max_tokens\":null,"
        "\"id\":\"x\",\"project_id\":\"p\",\"phase\":\"Bogus\",\"unknown\":[1],\"run_id\":5}");
    assert_int_equal(o->v[SESSION_PROMPT].state, V_NULL);
    assert_int_equal(o->v[SESSION_REPO_URL].state, V_SET);
    assert_int_equal(o->v[SESSION_WORKFLOW_ID].state, V_NULL);
    assert_string_equal(obj_cstr(o, SESSION_LLM_MODEL), "claude-sonnet-4-6");
    assert_int_equal(obj_int(o, SESSION_LLM_MAX_TOKENS, 0), 4000);
    assert_int_equal(o->v[SESSION_NAME].state, V_ABSENT);
    assert_int_equal(o->v[FIELD_ID].state, V_ABSENT);
    assert_int_equal(o->v[SESSION_PROJECT_ID].state, V_ABSENT);
    assert_int_equal(o->v[SESSION_PHASE].state, V_ABSENT);
}

static void test_patch__refusals(void **state)
{
    static const Case cases[] = {
        {&kind_session, OBJ_PATCH, "", ERR_MALFORMED, "Invalid request format: unexpected end of JSON input"},
        {&kind_session, OBJ_PATCH, "null", ERR_OK, NULL},
        {&kind_session, OBJ_PATCH, "{}", ERR_OK, NULL},
        {&kind_session, OBJ_PATCH, "[1]", ERR_MALFORMED, NULL},
        {&kind_session, OBJ_PATCH, "{\"name\":null}", ERR_INVALID, "name is required"},
        {&kind_session, OBJ_PATCH, "{\"name\":\"\"}", ERR_INVALID, "name is required"},
        {&kind_user, OBJ_PATCH, "{\"username\":null}", ERR_INVALID, "username is required"},
        {&kind_user, OBJ_PATCH, "{\"email\":null}", ERR_OK, NULL},
        {&kind_session, OBJ_PATCH, "{\"prompt\":5}", ERR_MALFORMED,
         "Invalid request format: json: cannot unmarshal number into Go struct field "
         "SessionPatchRequest.prompt of "
         "type string"},
        {&kind_project, OBJ_PATCH, "{\"display_name\":5}", ERR_OK, NULL},
    };
    check_cases(cases, ARRAY_LEN(cases));
}

#define STATUS_TEXT                                                                                          \
    "status patch body must set at least one field: phase, start_time, completion_time, sdk_session_id, "    \
    "sdk_restart_count, conditions, reconciled_repos, reconciled_workflow, kube_cr_uid, kube_namespace"
#define PHASE_TEXT "; must be one of: Pending, Creating, Running, Stopping, Stopped, Completed, Failed"

static void test_status__refusals(void **state)
{
    static const Case cases[] = {
        {&kind_session, OBJ_STATUS, "{}", ERR_INVALID, STATUS_TEXT},
        {&kind_session, OBJ_STATUS, "null", ERR_INVALID, STATUS_TEXT},
        {&kind_session, OBJ_STATUS, "{\"name\":\"n\",\"kube_cr_name\":\"k\"}", ERR_INVALID, STATUS_TEXT},
        {&kind_session, OBJ_STATUS, "{\"phase\":\"x\"}", ERR_INVALID, "invalid phase \"x\"" PHASE_TEXT},
        {&kind_session, OBJ_STATUS, "{\"phase\":\"\"}", ERR_INVALID, "invalid phase \"\"" PHASE_TEXT},
        {&kind_session, OBJ_STATUS, "{\"phase\":null}", ERR_INVALID, "phase is required"},
        {&kind_session, OBJ_STATUS, "{\"phase\":3}", ERR_MALFORMED,
         "Invalid request format: json: cannot unmarshal number into Go struct field "
         "SessionStatusPatchRequest.phase "
         "of type string"},
        {&kind_session, OBJ_STATUS, "{\"kube_namespace\":\"evil.example/?\"}", ERR_INVALID,
         "kube_namespace must be a DNS-1123 label"},
        {&kind_session, OBJ_STATUS, "{\"kube_namespace\":\"ns-1\"}", ERR_OK, NULL},
        {&kind_session, OBJ_STATUS, "{\"start_time\":\"yesterday\"}", ERR_MALFORMED, NULL},
        {&kind_session, OBJ_STATUS, "{\"completion_time\":null}", ERR_OK, NULL},
        {&kind_session, OBJ_STATUS, "{\"sdk_restart_count\":1}", ERR_OK, NULL},
    };
    check_cases(cases, ARRAY_LEN(cases));
    CLEANUP(obj_freep)
    Obj *o = parse_ok(&kind_session, OBJ_STATUS,
                      "{\"phase\":\"Running\",\"start_time\":\"2026-04-01T02:00:00.5+02:00\",\"conditions\":["
                      "{\"type\":\"Ready\"}]}");
    assert_int_equal(obj_phase(o), PHASE_RUNNING);
    assert_int_equal(obj_time(o, SESSION_START_TIME).us, INT64_C(1775001600500000));
    assert_string_equal(obj_cstr(o, SESSION_CONDITIONS), "[{\"type\":\"Ready\"}]");
}

static char *body_with_text(const char *key, size_t len)
{
    char *fill = xmalloc(len + 1);
    memset(fill, 'x', len);
    fill[len] = '\0';
    char *body = xasprintf("{\"name\":\"n\",\"%s\":\"%s\"}", key, fill);
    free(fill);
    return body;
}

static void check_length(const char *key, size_t limit, const char *text)
{
    CLEANUP_FREE char *fits = body_with_text(key, limit);
    CLEANUP_FREE char *over = body_with_text(key, limit + 1);
    check_case(&(Case){&kind_session, OBJ_PATCH, fits, ERR_OK, NULL});
    check_case(&(Case){&kind_session, OBJ_PATCH, over, ERR_INVALID, text});
}

static void test_lengths__are_limited_in_bytes(void **state)
{
    check_length("llm_model", 255, "llm_model exceeds maximum length of 255");
    check_length("repo_url", 65536, "repo_url exceeds maximum length of 65536");
    check_length("prompt", 1048576, "prompt exceeds maximum length of 1048576");
    CLEANUP_FREE char *name = xasprintf("{\"name\":\"%0256d\"}", 0);
    check_case(&(Case){&kind_session, OBJ_CREATE, name, ERR_INVALID, "name exceeds maximum length of 255"});
    /* JSON sent as a value counts in its stored form */
    CLEANUP_FREE char *labels = xasprintf("{\"name\":\"n\",\"labels\":{\"a\":\"%065536d\"}}", 0);
    check_case(
        &(Case){&kind_session, OBJ_CREATE, labels, ERR_INVALID, "labels exceeds maximum length of 65536"});
}

static void test_finish__checks_objects_that_no_client_sent(void **state)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_project);
    Err err = {0};
    assert_int_equal(obj_finish_create(o, &err), -ERR_INVALID);
    assert_string_equal(err.msg, "name is required");
    CLEANUP(obj_freep) Obj *s = obj_new(&kind_session);
    CLEANUP_FREE char *name = xasprintf("%0300d", 0);
    obj_set_str(s, SESSION_NAME, str_from(name));
    assert_int_equal(obj_finish_create(s, &err), -ERR_INVALID);
    assert_string_equal(err.msg, "name exceeds maximum length of 255");
}

static void test_answer__is_read_back(void **state)
{
    CLEANUP_JSON json_t *j = NULL;
    assert_int_equal(
        json_parse(STR("{\"id\":\"i\",\"created_at\":\"2026-04-01T00:00:00Z\",\"phase\":\"Running\","
                       "\"name\":\"\",\"timeout\":7,\"labels\":\"{}\",\"new_thing\":{},\"kind\":\"Session\","
                       "\"prompt\":null,\"llm_temperature\":0.25,\"interactive\":false}"),
                   &j, NULL),
        0);
    CLEANUP(obj_freep) Obj *o = NULL;
    assert_int_equal(obj_from_answer(&kind_session, j, &o, NULL), 0);
    assert_string_equal(obj_cstr(o, FIELD_ID), "i");
    assert_int_equal(obj_time(o, FIELD_CREATED_AT).us, INT64_C(1775001600000000));
    assert_int_equal(obj_phase(o), PHASE_RUNNING);
    assert_true(obj_has(o, SESSION_NAME));
    assert_int_equal(obj_int(o, SESSION_TIMEOUT, 0), 7);
    assert_string_equal(obj_cstr(o, SESSION_LABELS), "{}");
    assert_false(obj_has(o, SESSION_PROMPT));
    assert_true(obj_double(o, SESSION_LLM_TEMPERATURE, 0) == 0.25);
    assert_true(obj_has(o, SESSION_INTERACTIVE));
}

static void test_answer__of_a_wrong_shape_is_refused(void **state)
{
    static const char *const bad[] = {"[]", "null", "{\"timeout\":\"x\"}", "{\"created_at\":\"x\"}",
                                      "{\"name\":{}}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CLEANUP_JSON json_t *j = NULL;
        Obj *o = NULL;
        assert_int_equal(json_parse(str_from(bad[i]), &j, NULL), 0);
        assert_int_equal(obj_from_answer(&kind_session, j, &o, NULL), -ERR_MALFORMED);
        assert_null(o);
    }
}

static void test_roles__names_and_permissions_are_checked(void **state)
{
    static const Case cases[] = {
        {&kind_role, OBJ_CREATE, "{\"name\":\"team:lead\",\"permissions\":[\"session:*\",\"*:*\"]}", ERR_OK,
         NULL},
        {&kind_role, OBJ_CREATE, "{\"name\":\"x\",\"permissions\":\"[\\\"a:b_c\\\"]\"}", ERR_OK, NULL},
        {&kind_role, OBJ_CREATE, "{\"name\":\"Team Lead\"}", ERR_INVALID, NULL},
        {&kind_role, OBJ_CREATE, "{\"name\":\"\"}", ERR_INVALID, "name is required"},
        {&kind_role, OBJ_CREATE, "{\"name\":\"x\",\"permissions\":\"{\"}", ERR_INVALID,
         "permissions must be a JSON array of strings"},
        {&kind_role, OBJ_PATCH, "{\"permissions\":{}}", ERR_INVALID,
         "permissions must be a JSON array of strings"},
        {&kind_role, OBJ_PATCH, "{\"permissions\":[\"a:b\",\"session\"]}", ERR_INVALID,
         "permission 2 is not of the form resource:action"},
        {&kind_role, OBJ_PATCH, "{\"permissions\":[7]}", ERR_INVALID, NULL},
        {&kind_role, OBJ_PATCH, "{\"permissions\":[\"a:b:c\"]}", ERR_INVALID, NULL},
        {&kind_role, OBJ_PATCH, "{\"permissions\":null}", ERR_INVALID, NULL},
    };
    check_cases(cases, ARRAY_LEN(cases));
}

int run_from_json_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create__refuses_in_the_words_of_the_reference),
        cmocka_unit_test(test_create__required_fields_must_not_be_empty),
        cmocka_unit_test(test_create__required_text_sent_as_null_is_empty),
        cmocka_unit_test(test_project_name__rules_hold_on_create_and_patch),
        cmocka_unit_test(test_create__ignores_what_the_server_owns),
        cmocka_unit_test(test_create__takes_every_type),
        cmocka_unit_test(test_names__fold_case_as_go_does),
        cmocka_unit_test(test_json_text__keeps_strings_and_canonicalises_values),
        cmocka_unit_test(test_defaults__fill_what_is_not_set),
        cmocka_unit_test(test_patch__absent_null_and_empty_differ),
        cmocka_unit_test(test_patch__refusals),
        cmocka_unit_test(test_status__refusals),
        cmocka_unit_test(test_lengths__are_limited_in_bytes),
        cmocka_unit_test(test_finish__checks_objects_that_no_client_sent),
        cmocka_unit_test(test_roles__names_and_permissions_are_checked),
        cmocka_unit_test(test_answer__is_read_back),
        cmocka_unit_test(test_answer__of_a_wrong_shape_is_refused),
    };
    return cmocka_run_group_tests_name("from-json", tests, NULL, NULL);
}
