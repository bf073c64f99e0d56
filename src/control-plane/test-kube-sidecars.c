/* Containers beside the runner: which there are, what they may do, and what is left to the runner. */
#include "test-internal.h"

#include <string.h>
#include "base/mem.h"
#include "kube-names.h"
#include "kube-sidecars.h"

#define TEXT(s) ((char *)(uintptr_t)(s))

static Config config_with(bool github, bool others)
{
    Config c = {
        .runner_log_level = TEXT("info"),
        .api_url = TEXT("http://api.ambient-code.svc:8000"),
        .backend_api_url = TEXT("http://api.ambient-code.svc:8000"),
        .grpc_address = TEXT("api:9000"),
        .kube = {.runner_image = TEXT("runner:1"),
                 .cpu_request = TEXT("1"),
                 .memory_request = TEXT("1Gi"),
                 .cpu_limit = TEXT("1"),
                 .memory_limit = TEXT("1Gi"),
                 .cpu_max = TEXT("1"),
                 .memory_max = TEXT("1Gi"),
                 .mpp_ns = TEXT("config"),
                 .https_proxy = TEXT("http://proxy:1")},
    };
    if (github)
        c.kube.github_mcp_image = TEXT("github-mcp:1");
    if (others) {
        c.kube.mcp_image = TEXT("mcp:1");
        c.kube.jira_mcp_image = TEXT("localhost/jira-mcp:1");
        c.kube.k8s_mcp_image = TEXT("k8s-mcp:1");
        c.kube.google_mcp_image = TEXT("google-mcp:1");
    }
    return c;
}

typedef struct Wanted {
    const char *session, *ids;
    bool file, endpoint, native;
} Wanted;

static json_t *pod_of(const Config *c, const Wanted *w)
{
    CLEANUP(obj_freep) Obj *o = NULL;
    CLEANUP_JSON json_t *j = NULL;
    Err err = {0};
    const char *text = w->session ? w->session : "{\"id\":\"X\",\"name\":\"n\",\"project_id\":\"team\"}";
    if (json_parse(str_from(text), &j, &err) < 0 || obj_from_answer(&kind_session, j, &o, &err) < 0)
        fail_msg("%s", err.msg);
    const PodSpec s = {.config = c,
                       .session = o,
                       .ns = "team",
                       .name = "session-x-runner",
                       .account = "session-x-sa",
                       .anchor_name = "session-x",
                       .anchor_uid = "uid",
                       .credential_ids = w->ids,
                       .creds_secret = w->file ? "session-x-creds" : NULL,
                       .token_url = w->endpoint ? "http://cp.svc/token" : NULL,
                       .token_key = w->endpoint ? "PEM" : NULL,
                       .native_sidecars = w->native};
    return kube_pod_build(&s);
}

static const json_t *named(const json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_get_str(json_array_get(list, i), "name"), name) == 0)
            return json_array_get(list, i);
    return NULL;
}

static const json_t *container(const json_t *pod, const char *list, const char *name)
{
    return named(json_get_arr(json_get_obj(pod, "spec"), list), name);
}

static const char *env_of(const json_t *c, const char *name)
{
    const json_t *v = named(json_get_arr(c, "env"), name);
    return v ? json_get_str(v, "value") : NULL;
}

static size_t count(const json_t *pod, const char *list)
{
    return json_array_size(json_get_arr(json_get_obj(pod, "spec"), list));
}

#define TWO "{\"github\":\"gh1\",\"gitlab\":\"gl1\"}"
#define ALL "{\"google\":\"go1\",\"jira\":\"ji1\",\"kubeconfig\":\"ku1\",\"github\":\"gh1\"}"

static void test_sidecars__a_credential_without_one_stays_with_the_runner(void **state)
{
    Config c = config_with(true, false);
    CLEANUP_JSON json_t *pod = pod_of(&c, &(Wanted){.ids = TWO, .file = true});
    const json_t *runner = container(pod, "containers", RUNNER_CONTAINER);
    const json_t *github = container(pod, "containers", "credential-github");
    assert_int_equal(count(pod, "containers"), 2);
    assert_string_equal(env_of(runner, "CREDENTIAL_IDS"), "{\"gitlab\":\"gl1\"}");
    assert_string_equal(env_of(runner, "CREDENTIAL_MCP_URLS"), "{\"github\":\"http://localhost:8091\"}");
    assert_string_equal(env_of(runner, "CREDENTIAL_SIDECAR_MODE"), "true");
    assert_null(env_of(runner, "AMBIENT_MCP_URL"));
    assert_string_equal(env_of(github, "CREDENTIAL_IDS"), "{\"github\":\"gh1\"}");
    assert_string_equal(env_of(github, "CREDENTIAL_PROVIDER"), "github");
    assert_string_equal(env_of(github, "AMBIENT_API_URL"), "http://api.ambient-code.svc:8000");
    assert_string_equal(env_of(github, "https_proxy"), "http://proxy:1");
}

static void test_sidecars__have_the_least_rights(void **state)
{
    Config c = config_with(true, false);
    CLEANUP_JSON json_t *pod = pod_of(&c, &(Wanted){.ids = TWO, .file = true, .native = true});
    const json_t *github = container(pod, "initContainers", "credential-github");
    assert_string_equal(json_get_str(github, "restartPolicy"), "Always");
    const json_t *rights = json_get_obj(github, "securityContext");
    assert_true(json_get_bool(rights, "runAsNonRoot", false));
    assert_true(json_get_bool(rights, "readOnlyRootFilesystem", false));
    assert_false(json_get_bool(rights, "allowPrivilegeEscalation", true));
    const json_t *drop = json_get_arr(json_get_obj(rights, "capabilities"), "drop");
    assert_string_equal(json_string_value(json_array_get(drop, 0)), "ALL");
    /* A place for its files, and the token; not the workspace, not the prompt. */
    const json_t *mounts = json_get_arr(github, "volumeMounts");
    assert_int_equal(json_array_size(mounts), 2);
    assert_string_equal(json_get_str(named(mounts, "cred-tmp-github"), "mountPath"), "/tmp");
    assert_true(json_get_bool(named(mounts, "runner-token"), "readOnly", false));
    const json_t *volumes = json_get_arr(json_get_obj(pod, "spec"), "volumes");
    const json_t *tmp = json_get_obj(named(volumes, "cred-tmp-github"), "emptyDir");
    assert_string_equal(json_get_str(tmp, "sizeLimit"), "10Mi");
}

static void test_sidecars__one_way_to_the_token(void **state)
{
    Config c = config_with(true, true);
    CLEANUP_JSON json_t *both = pod_of(&c, &(Wanted){.ids = TWO, .file = true, .endpoint = true});
    const json_t *github = container(both, "containers", "credential-github");
    assert_string_equal(env_of(github, "AMBIENT_CP_TOKEN_URL"), "http://cp.svc/token");
    assert_string_equal(env_of(github, "AMBIENT_CP_TOKEN_PUBLIC_KEY"), "PEM");
    assert_null(named(json_get_arr(github, "volumeMounts"), "runner-token"));
    CLEANUP_JSON json_t *file = pod_of(&c, &(Wanted){.ids = TWO, .file = true});
    const json_t *mcp = container(file, "containers", "ambient-mcp");
    const json_t *token = named(json_get_arr(mcp, "env"), "AMBIENT_TOKEN");
    const json_t *ref = json_get_obj(json_get_obj(token, "valueFrom"), "secretKeyRef");
    assert_string_equal(json_get_str(ref, "name"), "session-x-creds");
    assert_null(env_of(mcp, "AMBIENT_CP_TOKEN_URL"));
    /* No way at all: then no sidecar, and the runner keeps its credentials. */
    CLEANUP_JSON json_t *none = pod_of(&c, &(Wanted){.ids = TWO});
    assert_int_equal(count(none, "containers"), 1);
    assert_string_equal(env_of(container(none, "containers", RUNNER_CONTAINER), "CREDENTIAL_IDS"), TWO);
}

static void test_sidecars__all_of_them_in_order(void **state)
{
    static const char *const names[] = {"ambient-mcp", "credential-github", "credential-google",
                                        "credential-jira", "credential-k8s"};
    static const int ports[] = {8090, 8091, 8094, 8092, 8093};
    Config c = config_with(true, true);
    CLEANUP_JSON json_t *pod = pod_of(&c, &(Wanted){.ids = ALL, .endpoint = true, .native = true});
    const json_t *list = json_get_arr(json_get_obj(pod, "spec"), "initContainers");
    assert_int_equal(json_array_size(list), ARRAY_LEN(names));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const json_t *one = json_array_get(list, i);
        const json_t *port = json_array_get(json_get_arr(one, "ports"), 0);
        assert_string_equal(json_get_str(one, "name"), names[i]);
        assert_int_equal(json_get_int(port, "containerPort", 0), ports[i]);
        assert_true(strlen(json_get_str(port, "name")) <= 15); /* what Kubernetes takes */
    }
    const json_t *runner = container(pod, "containers", RUNNER_CONTAINER);
    assert_null(env_of(runner, "CREDENTIAL_IDS"));
    assert_string_equal(env_of(runner, "AMBIENT_MCP_URL"), "http://localhost:8090");
    assert_string_equal(env_of(runner, "CREDENTIAL_MCP_URLS"),
                        "{\"github\":\"http://localhost:8091\",\"google\":\"http://localhost:8094\","
                        "\"jira\":\"http://localhost:8092\",\"kubeconfig\":\"http://localhost:8093\"}");
    assert_string_equal(json_get_str(container(pod, "initContainers", "credential-jira"), "imagePullPolicy"),
                        "IfNotPresent");
}

static void test_sidecars__jira_is_read_only_unless_asked(void **state)
{
    Config c = config_with(false, true);
    CLEANUP_JSON json_t *usual = pod_of(&c, &(Wanted){.ids = ALL, .file = true});
    const json_t *jira = container(usual, "containers", "credential-jira");
    assert_string_equal(env_of(jira, "JIRA_READ_ONLY_MODE"), "true");
    assert_string_equal(env_of(jira, "READ_ONLY_MODE"), "true");
    CLEANUP_JSON json_t *asked = pod_of(
        &c,
        &(Wanted){.ids = ALL,
                  .file = true,
                  .session = "{\"id\":\"X\",\"name\":\"n\",\"project_id\":\"team\",\"environment_variables\":"
                             "\"{\\\"JIRA_READ_ONLY_MODE\\\":\\\"false\\\"}\"}"});
    jira = container(asked, "containers", "credential-jira");
    assert_string_equal(env_of(jira, "JIRA_READ_ONLY_MODE"), "false");
    assert_string_equal(env_of(jira, "READ_ONLY_MODE"), "false");
}

static void test_sidecars__none_without_images_or_credentials(void **state)
{
    Config none = config_with(false, false), some = config_with(true, false);
    CLEANUP_JSON json_t *a = pod_of(&none, &(Wanted){.ids = TWO, .file = true, .native = true});
    CLEANUP_JSON json_t *b = pod_of(&some, &(Wanted){.ids = NULL, .file = true, .native = true});
    CLEANUP_JSON json_t *d = pod_of(&some, &(Wanted){.ids = "not json", .file = true});
    assert_false(kube_sidecars_wanted(&none.kube));
    assert_true(kube_sidecars_wanted(&some.kube));
    assert_string_equal(env_of(container(a, "containers", RUNNER_CONTAINER), "CREDENTIAL_IDS"), TWO);
    assert_int_equal(count(a, "initContainers") + count(b, "initContainers"), 0);
    assert_int_equal(count(a, "containers") + count(b, "containers") + count(d, "containers"), 3);
    assert_null(env_of(container(b, "containers", RUNNER_CONTAINER), "CREDENTIAL_MCP_URLS"));
}

int run_kube_sidecars_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sidecars__a_credential_without_one_stays_with_the_runner),
        cmocka_unit_test(test_sidecars__have_the_least_rights),
        cmocka_unit_test(test_sidecars__one_way_to_the_token),
        cmocka_unit_test(test_sidecars__all_of_them_in_order),
        cmocka_unit_test(test_sidecars__jira_is_read_only_unless_asked),
        cmocka_unit_test(test_sidecars__none_without_images_or_credentials),
    };
    return cmocka_run_group_tests_name("kube-sidecars", tests, NULL, NULL);
}
