/* The pure parts of the kube runtime: quantities, names, what a pod means, and the objects that we want. */
#include "test-internal.h"

#include <string.h>
#include "base/mem.h"
#include "kube-names.h"
#include "kube-pod-view.h"
#include "kube-pod.h"
#include "kube-project-objects.h"
#include "kube-quantity.h"

static const KubeSettings settings = {
    .runtime_ns = (char *)(uintptr_t) "ambient-code",
    .mpp_ns = (char *)(uintptr_t) "ambient-code--config",
    .account_name = (char *)(uintptr_t) "ambient-control-plane",
    .runner_image = (char *)(uintptr_t) "registry.test/runner:1",
    .cpu_request = (char *)(uintptr_t) "500m",
    .memory_request = (char *)(uintptr_t) "1Gi",
    .cpu_limit = (char *)(uintptr_t) "2000m",
    .memory_limit = (char *)(uintptr_t) "4Gi",
    .cpu_max = (char *)(uintptr_t) "8",
    .memory_max = (char *)(uintptr_t) "16Gi",
    .vertex_secret = (char *)(uintptr_t) "ambient-vertex",
    .non_root = true,
    .schedule_timeout = 600 * USEC_PER_SEC,
    .image_timeout = 300 * USEC_PER_SEC,
    .config_timeout = 120 * USEC_PER_SEC,
    .node_timeout = 300 * USEC_PER_SEC,
};

static const WallUsec t0 = {1700000000000000};

static WallUsec after(unsigned seconds)
{
    return (WallUsec){t0.us + (int64_t)(seconds * USEC_PER_SEC)};
}

/* ---- quantities ---- */

static void test_quantity(void **state)
{
    static const struct {
        const char *text;
        int64_t milli;
    } good[] = {{"1", 1000},     {"500m", 500},    {"1.5", 1500}, {"0", 0}, {"4Gi", 4294967296000},
                {"2k", 2000000}, {"1e3", 1000000}, {"0.1m", 1}};
    static const char *const bad[] = {"", "m", "-1", "Gi", "1Xi", "x", "1 ", "inf", "nan", "1e300"};
    int64_t n;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(quantity_parse(str_from(good[i].text), &n), 0);
        assert_int_equal(n, good[i].milli);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(quantity_parse(str_from(bad[i]), &n), -1);
}

/* ---- names ---- */

static void test_names__of_a_session(void **state)
{
    char name[NAME_MAX_LEN];
    assert_int_equal(session_object_name(STR("2YvK4zJ"), "-sa", name, NULL), 0);
    assert_string_equal(name, "session-2yvk4zj-sa");
    assert_int_equal(session_object_name(STR("aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeee"), "", name, NULL),
                     0);
    assert_string_equal(name, "session-aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd");
    static const char *const bad[] = {"", "../x", "a b", "-", "a_b"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(session_object_name(str_from(bad[i]), "", name, NULL), -ERR_INVALID);
}

static void test_names__namespaces_that_are_not_for_projects(void **state)
{
    static const char *const bad[] = {"",          "default",     "kube-system",  "kube-x",
                                      "openshift", "openshift-x", "ambient-code", "ambient-code--config",
                                      "a.b",       "KUBE-SYSTEM", "with space",   "-a"};
    char name[NAME_MAX_LEN];
    Err err = {0};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(project_namespace(&settings, str_from(bad[i]), name, &err), -ERR_INVALID);
    assert_int_equal(project_namespace(&settings, STR("Team-A"), name, &err), 0);
    assert_string_equal(name, "team-a");
    KubeSettings mpp = settings;
    mpp.mpp = true;
    assert_int_equal(project_namespace(&mpp, STR("team-a"), name, &err), 0);
    assert_string_equal(name, "ambient-code--team-a");
    assert_int_equal(project_namespace(&mpp, STR("config"), name, &err), -ERR_INVALID);
}

static void test_names__of_bindings_do_not_collide(void **state)
{
    char a[NAME_MAX_LEN], b[NAME_MAX_LEN];
    subject_name("ambient-admin-", "alice", "", a);
    assert_string_equal(a, "ambient-admin-alice");
    subject_name("ambient-admin-", "a.b", "", a);
    subject_name("ambient-admin-", "a-b", "", b);
    assert_string_equal(b, "ambient-admin-a-b");
    assert_int_equal(strncmp(a, "ambient-admin-a-b-", 18), 0);
    subject_name("", "team/x", "-edit", a); /* no name: sanitised, with a hash */
    assert_int_equal(strncmp(a, "team-x-", 7), 0);
    subject_name("", "Team.X", "-edit", b); /* a name: as the reference keeps it */
    assert_string_equal(b, "Team.X-edit");
    char longest[600];
    memset(longest, 'g', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    subject_name("", longest, "-view", a);
    assert_true(strlen(a) < 63);
}

/* ---- what a pod means ---- */

#define POD(meta, status)                                                                                    \
    "{\"metadata\":{\"creationTimestamp\":\"2023-11-14T22:13:20Z\"" meta "},\"spec\":{},\"status\":{" status \
    "}}"
#define RUNNER(state, ready)                                                                                 \
    "\"containerStatuses\":[{\"name\":\"sidecar\",\"ready\":true,\"state\":{\"running\":{}}},"               \
    "{\"name\":\"ambient-code-runner\",\"ready\":" ready ",\"state\":{" state "}}]"
#define SCHEDULED "\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"True\"}],"
#define UNSCHEDULED                                                                                          \
    "\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"message\":\"0/3 nodes\","             \
    "\"lastTransitionTime\":\"2023-11-14T22:13:20Z\"}]"
#define WAITS(reason) RUNNER("\"waiting\":{\"reason\":\"" reason "\",\"message\":\"m\"}", "false")
#define DELETED ",\"deletionTimestamp\":\"2023-11-14T22:14:20Z\",\"deletionGracePeriodSeconds\":60"
#define ENDED(code, more) RUNNER("\"terminated\":{\"exitCode\":" code more "}", "false")

typedef struct PodCase {
    const char *pod;
    unsigned at; /* seconds after it was first seen */
    RtState state;
    RtEnd end;
    int code;
    const char *reason; /* NULL = the general one */
    bool doomed;
    unsigned recheck; /* seconds */
} PodCase;

static const PodCase pod_cases[] = {
    {POD("", "\"phase\":\"Pending\"," UNSCHEDULED), 0, RT_STARTING, 0, 0, NULL, false, 600},
    {POD("", "\"phase\":\"Pending\"," UNSCHEDULED), 599, RT_STARTING, 0, 0, NULL, false, 1},
    {POD("", "\"phase\":\"Pending\"," UNSCHEDULED), 600, RT_ENDED, RT_END_LOST, 0, "Unschedulable", true, 0},
    {POD("", "\"phase\":\"Pending\"," SCHEDULED WAITS("ContainerCreating")), 3600, RT_STARTING, 0, 0, NULL,
     false, 0},
    {POD("", "\"phase\":\"Pending\"," SCHEDULED WAITS("ErrImagePull")), 60, RT_STARTING, 0, 0, NULL, false,
     240},
    {POD("", "\"phase\":\"Pending\"," SCHEDULED WAITS("ErrImagePull")), 300, RT_ENDED, RT_END_LOST, 0,
     "ErrImagePull", true, 0},
    {POD("", "\"phase\":\"Pending\"," SCHEDULED WAITS("ImagePullBackOff")), 301, RT_ENDED, RT_END_LOST, 0,
     "ImagePullBackOff", true, 0},
    {POD("", "\"phase\":\"Pending\"," SCHEDULED WAITS("InvalidImageName")), 119, RT_STARTING, 0, 0, NULL,
     false, 1},
    {POD("", "\"phase\":\"Pending\"," SCHEDULED WAITS("InvalidImageName")), 120, RT_ENDED, RT_END_LOST, 0,
     "InvalidImageName", true, 0},
    {POD("", "\"phase\":\"Pending\"," SCHEDULED WAITS("CreateContainerConfigError")), 120, RT_ENDED,
     RT_END_LOST, 0, "CreateContainerConfigError", true, 0},
    {POD("", "\"phase\":\"Running\"," SCHEDULED RUNNER("\"running\":{}", "false")), 9, RT_STARTING, 0, 0,
     NULL, false, 0},
    {POD("", "\"phase\":\"Running\"," SCHEDULED RUNNER("\"running\":{}", "true")), 9, RT_READY, 0, 0, NULL,
     false, 0},
    {POD("", "\"phase\":\"Succeeded\"," ENDED("0", "")), 9, RT_ENDED, RT_END_EXIT, 0, NULL, false, 0},
    {POD("", "\"phase\":\"Running\"," ENDED("0", "")), 9, RT_ENDED, RT_END_EXIT, 0, NULL, false,
     0}, /* sidecars go on */
    {POD("", "\"phase\":\"Failed\"," ENDED("3", ",\"reason\":\"Error\"")), 9, RT_ENDED, RT_END_EXIT, 3, NULL,
     false, 0},
    {POD("", "\"phase\":\"Failed\"," ENDED("143", ",\"reason\":\"Error\"")), 9, RT_ENDED, RT_END_SIGNAL, 15,
     NULL, false, 0},
    {POD("", "\"phase\":\"Failed\"," ENDED("137", ",\"reason\":\"OOMKilled\"")), 9, RT_ENDED, RT_END_OOM, 137,
     NULL, false, 0},
    {POD("", "\"phase\":\"Failed\",\"reason\":\"Evicted\",\"message\":\"disk\""), 9, RT_ENDED, RT_END_LOST, 0,
     "Evicted", false, 0},
    {POD("", "\"phase\":\"Failed\",\"reason\":\"DeadlineExceeded\"," ENDED("137", "")), 9, RT_ENDED,
     RT_END_EXIT, 137, "DeadlineExceeded", false, 0},
    {POD("", "\"phase\":\"Failed\""), 9, RT_ENDED, RT_END_LOST, 0, NULL, false, 0},
    {POD("", "\"phase\":\"Unknown\""), 299, RT_STARTING, 0, 0, NULL, false, 1},
    {POD("", "\"phase\":\"Unknown\""), 300, RT_ENDED, RT_END_LOST, 0, "NodeLost", true, 0},
    {POD(DELETED, "\"phase\":\"Running\"," RUNNER("\"running\":{}", "true")), 9, RT_STOPPING, 0, 0, NULL,
     false, 0},
    {POD(",\"deletionTimestamp\":\"2023-11-14T22:14:20Z\"", "\"phase\":\"Running\"," ENDED("0", "")), 9,
     RT_ENDED, RT_END_EXIT, 0, NULL, false, 0},
    {POD(DELETED, "\"phase\":\"Running\"," ENDED("0", ",\"finishedAt\":\"2023-11-14T22:13:19Z\"")), 9,
     RT_ENDED, RT_END_EXIT, 0, NULL, false, 0}, /* it had finished */
    {POD(DELETED, "\"phase\":\"Running\"," ENDED("0", ",\"finishedAt\":\"2023-11-14T22:13:20Z\"")), 9,
     RT_ENDED, RT_END_LOST, 0, "PodMissing", false, 0},
    {POD(DELETED ",\"annotations\":{\"ambient-code.io/stop-reason\":\"user\"}",
         "\"phase\":\"Running\"," ENDED("0", ",\"finishedAt\":\"2023-11-14T22:13:21Z\"")),
     9, RT_ENDED, RT_END_EXIT, 0, NULL, false, 0}, /* we deleted it */
    {"{}", 9, RT_STARTING, 0, 0, NULL, false, 0},
    {"{\"status\":{\"containerStatuses\":[7,{\"name\":\"ambient-code-runner\"}],\"conditions\":{}}}", 9,
     RT_STARTING, 0, 0, NULL, false, 0},
};

static void test_pod__means(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(pod_cases); i++) {
        const PodCase *c = &pod_cases[i];
        CLEANUP_JSON json_t *pod = NULL;
        PodView v;
        RtObserved o;
        Err err = {0};
        if (json_parse(str_from(c->pod), &pod, &err) < 0)
            fail_msg("case %zu: %s", i, err.msg);
        pod_view_read(pod, NULL, t0, &v);
        pod_view_judge(&v, &settings, after(c->at), &o);
        if (o.state != c->state || o.end != c->end || o.code != c->code || o.doomed != c->doomed ||
            (c->reason ? !o.reason || strcmp(o.reason, c->reason) != 0 : o.reason != NULL))
            fail_msg("case %zu: state %d, end %d, code %d, reason %s", i, o.state, o.end, o.code,
                     o.reason ? o.reason : "-");
        if (c->recheck)
            assert_int_equal(o.recheck, c->recheck * USEC_PER_SEC);
    }
}

static void test_pod__keeps_since_when(void **state)
{
    CLEANUP_JSON json_t *waits = NULL;
    CLEANUP_JSON json_t *other = NULL;
    json_parse(STR(POD("", SCHEDULED WAITS("ErrImagePull"))), &waits, NULL);
    json_parse(STR(POD("", SCHEDULED WAITS("ImagePullBackOff"))), &other, NULL);
    PodView v;
    RtObserved o;
    pod_view_read(waits, NULL, t0, &v);
    pod_view_read(other, &v, after(200), &v); /* the two alternate: it is one trouble */
    pod_view_judge(&v, &settings, after(300), &o);
    assert_string_equal(o.reason, "ImagePullBackOff");
}

/* ---- what is beside the runner ---- */

#define HELPER(list, state) "\"" list "\":[{\"name\":\"credential-github\",\"state\":{" state "}}]"
#define CRASHES "\"waiting\":{\"reason\":\"CrashLoopBackOff\",\"message\":\"back-off 10s\"}"
#define NO_IMAGE "\"waiting\":{\"reason\":\"ImagePullBackOff\"}"
#define RUNS_SINCE_20 "\"running\":{\"startedAt\":\"2023-11-14T22:13:40Z\"}"
#define RUNS                                                                                                 \
    "\"phase\":\"Running\"," SCHEDULED "\"containerStatuses\":[{\"name\":\"ambient-code-runner\","           \
    "\"ready\":true,\"state\":{\"running\":{}}}]"

static void look_at(PodView *v, bool again, const char *status, unsigned at, RtObserved *o)
{
    CLEANUP_FREE char *text =
        xasprintf("{\"metadata\":{\"creationTimestamp\":\"2023-11-14T22:13:20Z\"},\"status\":{%s}}", status);
    CLEANUP_JSON json_t *pod = NULL;
    assert_int_equal(json_parse(str_from(text), &pod, NULL), 0);
    pod_view_read(pod, again ? v : NULL, after(at), v);
    pod_view_judge(v, &settings, after(at), o);
}

static void test_pod__a_sidecar_that_fails_leaves_the_runner_alone(void **state)
{
    PodView v;
    RtObserved o;
    look_at(&v, false, RUNS "," HELPER("initContainerStatuses", CRASHES), 0, &o);
    assert_int_equal(o.state, RT_READY);
    assert_string_equal(o.helper_reason, "CrashLoopBackOff");
    assert_string_equal(o.helper_message, "credential-github cannot run"); /* no seconds of a back-off */
    pod_view_judge(&v, &settings, after(9000), &o);
    assert_int_equal(o.state, RT_READY);
    /* It runs again, which it does between two crashes too. */
    look_at(&v, true, RUNS "," HELPER("initContainerStatuses", RUNS_SINCE_20), 30, &o);
    assert_string_equal(o.helper_reason, "CrashLoopBackOff");
    assert_int_equal(o.recheck, 50 * USEC_PER_SEC);
    pod_view_judge(&v, &settings, after(80), &o);
    assert_null(o.helper_reason);
}

static void test_pod__a_runner_that_waits_for_its_sidecar(void **state)
{
    PodView v;
    RtObserved o;
    look_at(&v, false, "\"phase\":\"Pending\"," SCHEDULED HELPER("initContainerStatuses", NO_IMAGE), 0, &o);
    assert_int_equal(o.state, RT_STARTING);
    assert_string_equal(o.helper_reason, "ImageUnavailable");
    assert_int_equal(o.recheck, 300 * USEC_PER_SEC);
    pod_view_judge(&v, &settings, after(300), &o);
    assert_int_equal(o.state, RT_ENDED);
    assert_true(o.doomed);
    assert_string_equal(o.reason, "ImagePullBackOff");
    assert_null(o.helper_reason);
    /* Beside it, not before it: the runner will start. */
    look_at(&v, false, "\"phase\":\"Pending\"," SCHEDULED HELPER("containerStatuses", NO_IMAGE), 0, &o);
    pod_view_judge(&v, &settings, after(9000), &o);
    assert_int_equal(o.state, RT_STARTING);
    assert_string_equal(o.helper_reason, "ImageUnavailable");
}

static void test_pod__says_why_it_was_stopped_and_which_run_it_is(void **state)
{
    CLEANUP_JSON json_t *pod = NULL;
    json_parse(STR("{\"metadata\":{\"annotations\":{\"ambient-code.io/run\":\"4\","
                   "\"ambient-code.io/stop-reason\":\"time-limit\"},"
                   "\"deletionTimestamp\":\"2023-11-14T22:14:20Z\",\"deletionGracePeriodSeconds\":60}}"),
               &pod, NULL);
    PodView v;
    pod_view_read(pod, NULL, t0, &v);
    assert_int_equal(v.run, 4);
    assert_int_equal(v.stop, RT_STOP_TIME_LIMIT);
    assert_int_equal(v.deletion.us, t0.us); /* when it was asked for, not when the grace ends */
}

static void test_pod__a_long_message_keeps_its_cause(void **state)
{
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    CLEANUP_JSON json_t *pod = NULL;
    buf_addz(
        &b,
        "{\"status\":{\"containerStatuses\":[{\"name\":\"ambient-code-runner\",\"state\":{\"terminated\":{"
        "\"exitCode\":128,\"reason\":\"StartError\",\"message\":\"failed to create task: ");
    for (int i = 0; i < 40; i++)
        buf_addz(&b, "because of it: ");
    buf_addz(&b, "no such file\"}}}]}}");
    assert_int_equal(json_parse(buf_str(&b), &pod, NULL), 0);
    PodView v;
    pod_view_read(pod, NULL, t0, &v);
    assert_int_equal(strlen(v.text), sizeof(v.text) - 1);
    assert_memory_equal(v.text, "failed to create task: ", 23);
    assert_string_equal(v.text + sizeof(v.text) - 1 - 12, "no such file");
    assert_non_null(strstr(v.text, "..."));
}

/* ---- the pod we want ---- */

static Obj *session_of(const char *json)
{
    Obj *o = NULL;
    Err err = {0};
    CLEANUP_JSON json_t *j = NULL;
    if (json_parse(str_from(json), &j, &err) < 0 || obj_from_answer(&kind_session, j, &o, &err) < 0)
        fail_msg("%s", err.msg);
    return o;
}

static const char *env_value(const json_t *pod, const char *name)
{
    const json_t *container = json_array_get(json_get_arr(json_get_obj(pod, "spec"), "containers"), 0);
    const json_t *env = json_get_arr(container, "env");
    for (size_t i = 0; i < json_array_size(env); i++)
        if (strcmp(json_get_str(json_array_get(env, i), "name"), name) == 0)
            return json_get_str(json_array_get(env, i), "value");
    return NULL;
}

static json_t *build(const char *session, const char *prompt)
{
    Config c = {.kube = settings,
                .runner_log_level = (char *)(uintptr_t) "info",
                .backend_api_url = (char *)(uintptr_t) "http://api.svc",
                .grpc_address = (char *)(uintptr_t) "api.svc:9000"};
    CLEANUP(obj_freep) Obj *o = session_of(session);
    const PodSpec s = {.config = &c,
                       .session = o,
                       .run = 2,
                       .ns = "team",
                       .name = "session-x-runner",
                       .account = "session-x-sa",
                       .anchor_name = "session-x",
                       .anchor_uid = "uid-1",
                       .prompt = str_from(prompt)};
    return kube_pod_build(&s);
}

static void test_build__what_kubernetes_would_expand_is_escaped(void **state)
{
    CLEANUP_JSON json_t *pod =
        build("{\"id\":\"X\",\"name\":\"n\",\"project_id\":\"team\"}", "say $(SESSION_ID) $$ $x $");
    assert_string_equal(env_value(pod, "INITIAL_PROMPT"), "say $$(SESSION_ID) $$ $x $");
}

static void test_build__a_session_cannot_set_what_is_ours(void **state)
{
    CLEANUP_JSON json_t *pod =
        build("{\"id\":\"X\",\"name\":\"n\",\"project_id\":\"team\",\"environment_variables\":"
              "\"{\\\"MINE\\\":\\\"1\\\",\\\"SESSION_ID\\\":\\\"other\\\",\\\"LD_PRELOAD\\\":\\\"x\\\","
              "\\\"PATH\\\":\\\"x\\\"}\"}",
              "");
    assert_string_equal(env_value(pod, "MINE"), "1");
    assert_string_equal(env_value(pod, "SESSION_ID"), "X");
    assert_null(env_value(pod, "LD_PRELOAD"));
    assert_null(env_value(pod, "PATH"));
}

/* Out of a Secret: whoever may read pods does not read it. */
static void test_build__the_runners_token_comes_from_a_secret(void **state)
{
    Config c = {.kube = settings,
                .runner_log_level = (char *)(uintptr_t) "info",
                .backend_api_url = (char *)(uintptr_t) "http://api.svc",
                .grpc_address = (char *)(uintptr_t) "api.svc:9000"};
    CLEANUP(obj_freep)
    Obj *o = session_of("{\"id\":\"X\",\"name\":\"n\",\"project_id\":\"team\","
                        "\"environment_variables\":\"{\\\"AGUI_TOKEN\\\":\\\"mine\\\"}\"}");
    const PodSpec s = {.config = &c,
                       .session = o,
                       .ns = "team",
                       .name = "p",
                       .account = "a",
                       .token_secret = "session-x-agui"};
    CLEANUP_JSON json_t *env = kube_env_build(&s);
    size_t i, n = 0;
    json_t *v;
    json_array_foreach(env, i, v)
    {
        if (strcmp(json_get_str(v, "name"), "AGUI_TOKEN") != 0)
            continue;
        const json_t *ref = json_get_obj(json_get_obj(v, "valueFrom"), "secretKeyRef");
        assert_string_equal(json_get_str(ref, "name"), "session-x-agui");
        assert_string_equal(json_get_str(ref, "key"), "agui-token");
        n++;
    }
    assert_int_equal(n, 1);
}

/* A new volume belongs to root, and a runner is somebody else. */
static void test_build__a_claimed_workspace_belongs_to_a_group(void **state)
{
    CLEANUP(obj_freep) Obj *o = session_of("{\"id\":\"X\",\"name\":\"n\",\"project_id\":\"team\"}");
    for (int claimed = 0; claimed < 2; claimed++) {
        for (int group = 0; group < 2; group++) {
            Config c = {.kube = settings,
                        .runner_log_level = (char *)(uintptr_t) "info",
                        .backend_api_url = (char *)(uintptr_t) "http://api.svc",
                        .grpc_address = (char *)(uintptr_t) "api.svc:9000"};
            c.kube.fs_group = group ? 10001 : 0;
            const PodSpec s = {.config = &c,
                               .session = o,
                               .ns = "team",
                               .name = "p",
                               .account = "a",
                               .claim = claimed ? "w" : NULL};
            CLEANUP_JSON json_t *pod = kube_pod_build(&s);
            const json_t *security = json_get_obj(json_get_obj(pod, "spec"), "securityContext");
            assert_int_equal(json_get_int(security, "fsGroup", 0), claimed && group ? 10001 : 0);
        }
    }
}

static void test_build__resources_have_a_maximum(void **state)
{
    CLEANUP_JSON json_t *pod =
        build("{\"id\":\"X\",\"name\":\"n\",\"project_id\":\"team\",\"resource_overrides\":"
              "\"{\\\"cpu\\\":\\\"64\\\",\\\"memory\\\":\\\"512Mi\\\"}\"}",
              "");
    const json_t *container = json_array_get(json_get_arr(json_get_obj(pod, "spec"), "containers"), 0);
    const json_t *r = json_get_obj(container, "resources");
    assert_string_equal(json_get_str(json_get_obj(r, "limits"), "cpu"), "8");
    assert_string_equal(json_get_str(json_get_obj(r, "limits"), "memory"), "512Mi");
    assert_string_equal(json_get_str(json_get_obj(r, "requests"), "memory"),
                        "512Mi"); /* never above its limit */
    assert_string_equal(json_get_str(json_get_obj(r, "requests"), "cpu"), "500m");
}

static void test_build__the_rest(void **state)
{
    CLEANUP_JSON json_t *pod =
        build("{\"id\":\"X\",\"name\":\"n \\\"q\\\"\",\"project_id\":\"team\",\"timeout\":60,"
              "\"inactivity_timeout\":30,\"repo_url\":\"https://h/a\\\"b\",\"llm_temperature\":0}",
              "");
    const json_t *spec = json_get_obj(pod, "spec");
    assert_int_equal(json_get_int(spec, "activeDeadlineSeconds", 0), 180);
    assert_false(json_get_bool(spec, "automountServiceAccountToken", true));
    assert_false(json_get_bool(spec, "enableServiceLinks", true));
    assert_string_equal(kube_annotation(pod, ANNOTATION_RUN), "2");
    assert_string_equal(kube_label(pod, LABEL_SESSION), "X");
    assert_string_equal(env_value(pod, "REPOS_JSON"), "[{\"url\":\"https://h/a\\\"b\"}]");
    assert_string_equal(env_value(pod, "LLM_TEMPERATURE"), "0");
    assert_string_equal(env_value(pod, "TIMEOUT"), "60");
    assert_string_equal(env_value(pod, "AMBIENT_INACTIVITY_TIMEOUT_SEC"), "30");
    assert_string_equal(env_value(pod, "AMBIENT_IDLE_EXIT_CODE"), "15");
    assert_null(env_value(pod, "ANTHROPIC_API_KEY"));
    const json_t *owner = json_array_get(json_get_arr(json_get_obj(pod, "metadata"), "ownerReferences"), 0);
    assert_string_equal(json_get_str(owner, "uid"), "uid-1");
}

/* ---- the objects of a project ---- */

static Obj *object_of(const Kind *k, const char *json)
{
    Obj *o = NULL;
    Err err = {0};
    CLEANUP_JSON json_t *j = NULL;
    if (json_parse(str_from(json), &j, &err) < 0 || obj_from_answer(k, j, &o, &err) < 0)
        fail_msg("%s", err.msg);
    return o;
}

static void test_project__access_of_people(void **state)
{
    Config c = {.kube = settings};
    CLEANUP(obj_freep)
    Obj *project = object_of(
        &kind_project, "{\"id\":\"team\",\"name\":\"team\",\"annotations\":"
                       "\"{\\\"ambient-code.io/created-by\\\":\\\"system:serviceaccount:ns:bot\\\"}\"}");
    CLEANUP(obj_freep)
    Obj *access =
        object_of(&kind_project_settings, "{\"id\":\"s\",\"project_id\":\"team\",\"group_access\":"
                                          "\"[{\\\"groupName\\\":\\\"devs\\\",\\\"role\\\":\\\"Edit\\\"},"
                                          "{\\\"groupName\\\":\\\"devs\\\",\\\"role\\\":\\\"edit\\\"},"
                                          "{\\\"groupName\\\":\\\"\\\",\\\"role\\\":\\\"view\\\"},"
                                          "{\\\"groupName\\\":\\\"ops\\\",\\\"role\\\":\\\"owner\\\"}]\"}");
    CLEANUP_FREE ProjectObjects *o = xnew(ProjectObjects);
    project_objects_build(&c, "team", project, access, o);
    assert_true(project_objects_has(o, KUBE_ROLE_BINDINGS, PROJECT_ROLE_BINDING));
    assert_true(project_objects_has(o, KUBE_ROLE_BINDINGS, "devs-edit"));
    assert_true(project_objects_has(o, KUBE_NETWORK_POLICIES, "allow-ambient-api-server"));
    assert_int_equal(o->n, 4); /* an unknown role gives nothing, and nothing is there twice */
    const json_t *subject = json_array_get(json_get_arr(o->list[2].want, "subjects"), 0);
    assert_string_equal(json_get_str(subject, "kind"), "ServiceAccount");
    assert_string_equal(json_get_str(subject, "namespace"), "ns");
    assert_string_equal(json_get_str(subject, "name"), "bot");
    char hash[sizeof o->hash];
    memcpy(hash, o->hash, sizeof hash);
    project_objects_done(o);
    project_objects_build(&c, "team", project, NULL, o);
    assert_string_not_equal(hash, o->hash);
    project_objects_done(o);
}

int run_kube_parts_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantity),
        cmocka_unit_test(test_names__of_a_session),
        cmocka_unit_test(test_names__namespaces_that_are_not_for_projects),
        cmocka_unit_test(test_names__of_bindings_do_not_collide),
        cmocka_unit_test(test_pod__a_long_message_keeps_its_cause),
        cmocka_unit_test(test_pod__means),
        cmocka_unit_test(test_pod__keeps_since_when),
        cmocka_unit_test(test_pod__a_sidecar_that_fails_leaves_the_runner_alone),
        cmocka_unit_test(test_pod__a_runner_that_waits_for_its_sidecar),
        cmocka_unit_test(test_pod__says_why_it_was_stopped_and_which_run_it_is),
        cmocka_unit_test(test_build__what_kubernetes_would_expand_is_escaped),
        cmocka_unit_test(test_build__a_session_cannot_set_what_is_ours),
        cmocka_unit_test(test_build__the_runners_token_comes_from_a_secret),
        cmocka_unit_test(test_build__a_claimed_workspace_belongs_to_a_group),
        cmocka_unit_test(test_build__resources_have_a_maximum),
        cmocka_unit_test(test_build__the_rest),
        cmocka_unit_test(test_project__access_of_people),
    };
    return cmocka_run_group_tests_name("kube-parts", tests, NULL, NULL);
}
