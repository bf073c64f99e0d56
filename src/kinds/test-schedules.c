/* Scheduled sessions and applications: what a request may say. */
#include "test-internal.h"

static int take(const Kind *k, ObjMode mode, const char *body, Obj **ret, Err *err)
{
    CLEANUP(obj_freep) Obj *o = NULL;
    int rc = obj_from_json_text(k, mode, str_from(body), &o, err);
    if (rc == 0 && mode == OBJ_CREATE)
        rc = obj_finish_create(o, err);
    if (rc == 0)
        *ret = TAKE(o);
    return rc;
}

static void check_refused(const Kind *k, ObjMode mode, const char *body, const char *why)
{
    CLEANUP(obj_freep) Obj *o = NULL;
    Err err = {0};
    if (take(k, mode, body, &o, &err) != -ERR_INVALID || str_find(str_from(err.msg), str_from(why)) < 0)
        fail_msg("%s: %s", body, o ? "taken" : err.msg);
}

static Obj *taken(const Kind *k, const char *body)
{
    Obj *o = NULL;
    Err err = {0};
    if (take(k, OBJ_CREATE, body, &o, &err) < 0)
        fail_msg("%s: %s", body, err.msg);
    return o;
}

/* D69: a schedule that does not say otherwise is enabled. */
static void test_schedule__defaults(void **state)
{
    CLEANUP(obj_freep)
    Obj *o = taken(&kind_scheduled_session, "{\"name\":\"n\",\"schedule\":\"0 9 * * 1-5\","
                                            "\"timezone\":\"\",\"project_id\":\"\"}");
    assert_true(obj_bool(o, SCHEDULE_ENABLED, false));
    assert_string_equal(obj_cstr(o, SCHEDULE_TIMEZONE), "UTC");
    assert_string_equal(obj_cstr(o, SCHEDULE_OVERLAP_POLICY), "skip");
    assert_string_equal(obj_cstr(o, SCHEDULE_CATCH_UP), "one");
    CLEANUP(obj_freep)
    Obj *off = taken(&kind_scheduled_session, "{\"name\":\"n\",\"schedule\":\"@daily\",\"enabled\":false}");
    assert_false(obj_bool(off, SCHEDULE_ENABLED, true));
}

/* rest-governance-and-auth.md 5: unknown keys and an id are ignored, and nothing of the server's is taken. */
static void test_schedule__is_lenient(void **state)
{
    CLEANUP(obj_freep)
    Obj *o =
        taken(&kind_scheduled_session,
              "{\"id\":\"mine\",\"nme\":1,\"name\":\"n\",\"schedule\":\"* * * * *\",\"next_run_at\":"
              "\"2026-01-01T00:00:00Z\",\"wake_at\":\"x\",\"owner_type\":\"admin\",\"created_by_user_id\":"
              "\"eve\"}");
    assert_false(obj_has(o, FIELD_ID));
    assert_false(obj_has(o, SCHEDULE_NEXT_RUN_AT));
    assert_false(obj_has(o, SCHEDULE_WAKE_AT));
    assert_false(obj_has(o, SCHEDULE_OWNER_TYPE));
    assert_false(obj_has(o, SCHEDULE_CREATED_BY_USER_ID));
}

static void test_schedule__refusals(void **state)
{
    const Kind *k = &kind_scheduled_session;
    check_refused(k, OBJ_CREATE, "{\"schedule\":\"* * * * *\"}", "name is required");
    check_refused(k, OBJ_CREATE, "{\"name\":\"\",\"schedule\":\"* * * * *\"}", "name is required");
    check_refused(k, OBJ_CREATE, "{\"name\":\"n\"}", "schedule is required");
    check_refused(k, OBJ_CREATE, "{\"name\":\"n\",\"schedule\":\"\"}", "schedule is required");
    check_refused(k, OBJ_CREATE, "{\"name\":\"n\",\"schedule\":\"bad cron\"}", "five fields");
    check_refused(k, OBJ_CREATE, "{\"name\":\"n\",\"schedule\":\"0 0 30 2 *\"}", "no date of the calendar");
    check_refused(k, OBJ_PATCH, "{\"schedule\":\"61 * * * *\"}", "61 is no minute");
    check_refused(k, OBJ_PATCH, "{\"schedule\":null}", "schedule is required");
    check_refused(k, OBJ_PATCH, "{\"overlap_policy\":\"Forbid\"}", "must be one of: skip, queue, replace");
    check_refused(k, OBJ_PATCH, "{\"catch_up\":\"some\"}", "must be one of: none, one, all");
    check_refused(k, OBJ_PATCH, "{\"runner_type\":\"a b\"}", "one word");
    check_refused(k, OBJ_PATCH, "{\"runner_type\":\"a=b\"}", "one word");
}

static void test_schedule__href_names_its_project(void **state)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_scheduled_session);
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    obj_set_str(o, FIELD_ID, STR("x1"));
    obj_set_str(o, SCHEDULE_PROJECT_ID, STR("demo"));
    obj_to_json(o, &b, NULL);
    assert_true(
        str_find(buf_str(&b), STR("\"href\":\"/api/ambient/v1/projects/demo/scheduled-sessions/x1\"")) > 0);
    buf_clear(&b);
    obj_set_str(o, SCHEDULE_PROJECT_ID, STR("a\"b"));
    obj_to_json(o, &b, NULL);
    assert_true(str_find(buf_str(&b), STR("/projects/a\\\"b/scheduled-sessions/x1\"")) > 0);
}

static void test_application__values_are_checked(void **state)
{
    static const char *const rows[][2] = {
        {"{\"sync_status\":\"Fine\"}", "must be one of: Synced, OutOfSync, Unknown"},
        {"{\"health_status\":\"sick\"}", "must be one of: Healthy"},
        {"{\"operation_phase\":\"running\"}", "must be one of: Running, Succeeded, Failed"},
        {"{\"sync_options\":\"CreateProject=true,Prune=yes\"}", "invalid sync option \"Prune=yes\""},
        {"{\"source_repo_url\":\"--upload-pack=x\"}", "URL of a git repository"},
        {"{\"source_repo_url\":\"https://x y\"}", "URL of a git repository"},
        {"{\"source_repo_url\":\"\"}", "source_repo_url is required"},
        {"{\"source_path\":\"/etc\"}", "inside of the repository"},
        {"{\"source_path\":\"a/../../b\"}", "inside of the repository"},
        {"{\"source_target_revision\":\"-x\"}", "a branch, a tag or a commit"},
        {"{\"source_target_revision\":\"a..b\"}", "a branch, a tag or a commit"},
        {"{\"destination_ambient_url\":\"file:///etc\"}", "https:// or http://"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_refused(&kind_application, OBJ_PATCH, rows[i][0], rows[i][1]);
    CLEANUP(obj_freep)
    Obj *o =
        taken(&kind_application,
              "{\"name\":\"a\",\"source_repo_url\":\"git@host:x.git\",\"source_path\":\"overlays/prod\","
              "\"destination_project\":\"p\",\"sync_options\":\"CreateProject=true\",\"sync_status\":\"\"}");
    assert_false(obj_has(o, APPLICATION_AUTO_SYNC)); /* absent, not false */
}

int run_schedule_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedule__defaults),
        cmocka_unit_test(test_schedule__is_lenient),
        cmocka_unit_test(test_schedule__refusals),
        cmocka_unit_test(test_schedule__href_names_its_project),
        cmocka_unit_test(test_application__values_are_checked),
    };
    return cmocka_run_group_tests_name("schedules", tests, NULL, NULL);
}
