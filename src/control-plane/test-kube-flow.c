/* Steps against a server that answers from a script. */
#include "test-internal.h"

#include <string.h>
#include "base/mem.h"
#include "http/server.h"
#include "kube-flow.h"

/* The n-th request must begin so, and its body hold `want`; answer NULL: what the last PATCH has written. */
typedef struct Said {
    const char *request;
    int status;
    const char *answer, *want;
} Said;
#define SAY(line, code, text, ...)                                                                           \
    {                                                                                                        \
        .request = (line), .status = (code), .answer = (text), __VA_ARGS__                                   \
    }

typedef struct Rig {
    Loop *loop;
    HttpServer *server;
    KubeConfig config;
    Kube *kube;
    Flow flow;
    const Said *script;
    size_t n, at;
    Buf written; /* the body of the last PATCH */
    bool done, ok, answered_null;
    KubeError e;
} Rig;

static Rig *rig_of(Flow *f)
{
    return CONTAINER_OF(f, Rig, flow);
}

static void on_request(void *arg, HttpReq *r)
{
    Rig *t = arg;
    CLEANUP_FREE char *line =
        xasprintf(STR_FMT " " STR_FMT, STR_ARG(http_req_method(r)), STR_ARG(http_req_raw_target(r)));
    if (t->at == t->n)
        fail_msg("unexpected: %s", line);
    const Said *s = &t->script[t->at++];
    if (strncmp(line, s->request, strlen(s->request)) != 0)
        fail_msg("%s came, not %s", line, s->request);
    if (s->want && str_find(http_req_body(r), str_from(s->want)) < 0)
        fail_msg("%s with " STR_FMT, line, STR_ARG(http_req_body(r)));
    if (str_eqz(http_req_method(r), "PATCH")) {
        buf_clear(&t->written);
        buf_adds(&t->written, http_req_body(r));
    }
    http_reply_header(r, "Content-Type", STR("application/json"));
    http_reply(r, s->status, s->answer ? str_from(s->answer) : buf_str(&t->written));
}

static void on_done(Flow *f, const KubeError *e)
{
    Rig *t = rig_of(f);
    t->done = true;
    t->ok = !e;
    t->e = e ? *e : (KubeError){0};
}

static void rig_init(Rig *t)
{
    Err err = {0};
    *t = (Rig){.written = BUF_INIT(65536)};
    assert_int_equal(loop_new(&t->loop, &err), 0);
    assert_int_equal(http_server_new(t->loop, "127.0.0.1:0", NULL, &http_limits_default, on_request, NULL, t,
                                     &t->server, &err),
                     0);
    t->config = (KubeConfig){.server = xasprintf("http://127.0.0.1:%d", http_server_port(t->server))};
    const KubeOptions o = {.config = &t->config, .manager = "us"};
    assert_int_equal(kube_new(t->loop, &o, &t->kube, &err), 0);
    flow_init(&t->flow, t->kube, on_done);
}

static void rig_done(Rig *t)
{
    flow_done(&t->flow);
    kube_free(t->kube);
    http_server_free(t->server);
    loop_free(t->loop);
    kube_config_done(&t->config);
    buf_done(&t->written);
}

static void give_up(void *arg)
{
    fail_msg("waited too long");
}

static void play(Rig *t, const FlowStep *steps, const Said *script, size_t n)
{
    Timer *timer = timer_new(t->loop, give_up, NULL);
    timer_arm(timer, 60 * USEC_PER_SEC);
    t->script = script;
    t->n = n;
    t->at = 0;
    t->done = t->answered_null = false;
    flow_start(&t->flow, steps);
    while (!t->done)
        loop_run_once(t->loop, true);
    timer_free(timer);
    assert_int_equal(t->at, n);
}

#define PLAY(t, steps, ...)                                                                                  \
    do {                                                                                                     \
        static const Said script[] = {__VA_ARGS__};                                                          \
        play(t, steps, script, ARRAY_LEN(script));                                                           \
    } while (0)

/* ---- all of a kind ---- */

#define SERVICES "/api/v1/namespaces/p/services"
#define TWO "{\"items\":[{\"metadata\":{\"name\":\"a\"}},{\"metadata\":{\"name\":\"b\"}}]}"
#define STATUS(code, why) "{\"kind\":\"Status\",\"code\":" #code ",\"reason\":\"" why "\"}"

static void step_all(Flow *f)
{
    flow_delete_all(f, KUBE_SERVICES, "p", "l=x");
}

static const FlowStep all_steps[] = {step_all, NULL};

static void test_delete_all__37_one_by_one_where_a_collection_cannot_be_deleted(void **state)
{
    Rig t;
    rig_init(&t);
    PLAY(&t, all_steps, SAY("DELETE " SERVICES "?labelSelector=l%3Dx", 405, STATUS(405, "MethodNotAllowed")),
         SAY("GET " SERVICES "?labelSelector=l%3Dx", 200, TWO),
         SAY("DELETE " SERVICES "/b", 404, STATUS(404, "NotFound")), SAY("DELETE " SERVICES "/a", 200, "{}"));
    assert_true(t.ok);
    PLAY(&t, all_steps, SAY("DELETE " SERVICES "?", 403, STATUS(403, "Forbidden")),
         SAY("GET " SERVICES "?", 200, "{\"items\":[]}"));
    assert_true(t.ok);
    rig_done(&t);
}

static void test_delete_all__what_fails_is_told(void **state)
{
    Rig t;
    rig_init(&t);
    PLAY(&t, all_steps, SAY("DELETE " SERVICES "?", 403, STATUS(403, "Forbidden")),
         SAY("GET " SERVICES "?", 403, STATUS(403, "Forbidden")));
    assert_int_equal(t.e.err.code, ERR_FORBIDDEN);
    PLAY(&t, all_steps, SAY("DELETE " SERVICES "?", 405, "{}"), SAY("GET " SERVICES "?", 200, TWO),
         SAY("DELETE " SERVICES "/b", 409, STATUS(409, "Conflict")));
    assert_int_equal(t.e.err.code, ERR_CONFLICT);
    PLAY(&t, all_steps, SAY("DELETE " SERVICES "?", 500, "{}"));
    assert_false(t.ok);
    PLAY(&t, all_steps, SAY("DELETE " SERVICES "?", 404, "{}")); /* the namespace has gone */
    assert_true(t.ok);
    rig_done(&t);
}

/* ---- apply ---- */

#define MAP "/api/v1/namespaces/p/configmaps/x"
#define OURS                                                                                                 \
    "\"labels\":{\"ambient-code.io/managed\":\"true\",\"ambient-code.io/"                                    \
    "managed-by\":\"ambient-control-plane\"}"
#define APPLY_MAP "PATCH " MAP "?fieldManager=us&force=true"

static void step_map(Flow *f)
{
    json_t *want = json_pack("{s:{s:s, s:s, s:{s:s, s:s}}, s:{s:s}}", "metadata", "name", "x", "namespace",
                             "p", "labels", "ambient-code.io/managed", "true", "ambient-code.io/managed-by",
                             "ambient-control-plane", "data", "k", "v");
    flow_apply(f, KUBE_CONFIG_MAPS, want, NULL);
}

static const FlowStep map_steps[] = {step_map, NULL};

static void test_apply__58_writes_what_differs_and_nothing_else(void **state)
{
    Rig t;
    rig_init(&t);
    PLAY(&t, map_steps, SAY("GET " MAP, 404, STATUS(404, "NotFound")),
         SAY(APPLY_MAP, 201, NULL, .want = "\"k\":\"v\""));
    assert_true(t.ok);
    assert_int_equal(t.flow.writes, 1);
    PLAY(&t, map_steps, SAY("GET " MAP, 200, NULL)); /* what was written: it is as wanted */
    assert_true(t.ok);
    assert_int_equal(t.flow.writes, 0);
    PLAY(&t, map_steps,
         SAY("GET " MAP, 200, "{\"metadata\":{\"name\":\"x\"," OURS "},\"data\":{\"k\":\"changed\"}}"),
         SAY(APPLY_MAP, 200, "{}", .want = "\"k\":\"v\""));
    assert_int_equal(t.flow.writes, 1);
    rig_done(&t);
}

static void test_apply__of_somebody_else_is_left_alone(void **state)
{
    Rig t;
    rig_init(&t);
    PLAY(&t, map_steps, SAY("GET " MAP, 200, "{\"metadata\":{\"name\":\"x\",\"labels\":{}},\"data\":{}}"));
    assert_int_equal(t.e.err.code, ERR_INVALID);
    assert_true(kube_error_is(&t.e, "NameConflict"));
    rig_done(&t);
}

static void test_apply__a_conflict_is_tried_again_by_the_queue(void **state)
{
    Rig t;
    rig_init(&t);
    PLAY(&t, map_steps, SAY("GET " MAP, 404, "{}"), SAY(APPLY_MAP, 409, STATUS(409, "Conflict")));
    assert_int_equal(t.e.err.code, ERR_CONFLICT);
    assert_int_equal(t.flow.writes, 0);
    PLAY(&t, map_steps, SAY("GET " MAP, 404, "{}"), SAY(APPLY_MAP, 422, STATUS(422, "Invalid")));
    assert_int_equal(t.e.err.code, ERR_INVALID);
    rig_done(&t);
}

#define BINDING "/apis/rbac.authorization.k8s.io/v1/namespaces/p/rolebindings/x"
#define ROLE(name) "\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"" name "\"}"

static void step_binding(Flow *f)
{
    json_t *want =
        json_pack("{s:{s:s, s:s, s:{s:s, s:s}}, s:{s:s, s:s}}", "metadata", "name", "x", "namespace", "p",
                  "labels", "ambient-code.io/managed", "true", "ambient-code.io/managed-by",
                  "ambient-control-plane", "roleRef", "kind", "ClusterRole", "name", "edit");
    flow_apply(f, KUBE_ROLE_BINDINGS, want, NULL);
}

static void test_apply__45_another_role_is_another_binding(void **state)
{
    static const FlowStep steps[] = {step_binding, NULL};
    Rig t;
    rig_init(&t);
    PLAY(
        &t, steps,
        SAY("GET " BINDING, 200, "{\"metadata\":{\"name\":\"x\",\"uid\":\"u-1\"," OURS "}," ROLE("view") "}"),
        SAY("DELETE " BINDING, 200, "{}", .want = "\"uid\":\"u-1\""),
        SAY("PATCH " BINDING, 201, "{}", .want = "\"edit\""));
    assert_true(t.ok);
    PLAY(
        &t, steps,
        SAY("GET " BINDING, 200, "{\"metadata\":{\"name\":\"x\",\"uid\":\"u-1\"," OURS "}," ROLE("edit") "}"),
        SAY("PATCH " BINDING, 200, "{}")); /* the same role: nobody loses it for a moment */
    assert_true(t.ok);
    rig_done(&t);
}

/* ---- create and delete ---- */

static void on_made(Flow *f, json_t *object)
{
    rig_of(f)->answered_null = !object;
    flow_next(f);
}

static void step_create(Flow *f)
{
    flow_create(f, KUBE_PODS, json_pack("{s:{s:s, s:s}}", "metadata", "name", "x", "namespace", "p"),
                on_made);
}

static void step_delete(Flow *f)
{
    flow_delete(f, KUBE_PODS, "p", "x", "u-1", 0);
}

static void test_create__the_two_conflicts_are_told_apart(void **state)
{
    static const FlowStep create[] = {step_create, NULL}, del[] = {step_delete, NULL};
    Rig t;
    rig_init(&t);
    PLAY(&t, create, SAY("POST /api/v1/namespaces/p/pods", 409, STATUS(409, "AlreadyExists")));
    assert_true(t.ok && t.answered_null);
    PLAY(&t, create, SAY("POST /api/v1/namespaces/p/pods", 409, STATUS(409, "Conflict")));
    assert_int_equal(t.e.err.code, ERR_CONFLICT);
    /* Another pod has the name: ours has gone. */
    PLAY(&t, del,
         SAY("DELETE /api/v1/namespaces/p/pods/x", 409, STATUS(409, "Conflict"), .want = "\"uid\":\"u-1\""));
    assert_true(t.ok);
    PLAY(&t, del,
         SAY("DELETE /api/v1/namespaces/p/pods/x", 409, STATUS(409, "Other"),
             .want = "\"gracePeriodSeconds\":0"));
    assert_false(t.ok);
    rig_done(&t);
}

int run_kube_flow_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delete_all__37_one_by_one_where_a_collection_cannot_be_deleted),
        cmocka_unit_test(test_delete_all__what_fails_is_told),
        cmocka_unit_test(test_apply__58_writes_what_differs_and_nothing_else),
        cmocka_unit_test(test_apply__of_somebody_else_is_left_alone),
        cmocka_unit_test(test_apply__a_conflict_is_tried_again_by_the_queue),
        cmocka_unit_test(test_apply__45_another_role_is_another_binding),
        cmocka_unit_test(test_create__the_two_conflicts_are_told_apart),
    };
    return cmocka_run_group_tests_name("kube-flow", tests, NULL, NULL);
}
