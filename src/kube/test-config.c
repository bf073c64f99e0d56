#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "test-internal.h"

#define CLUSTERS                                                                                             \
    "apiVersion: v1\n"                                                                                       \
    "kind: Config\n"                                                                                         \
    "clusters:\n"                                                                                            \
    "- name: one\n"                                                                                          \
    "  cluster:\n"                                                                                           \
    "    server: https://k.example:6443/\n"                                                                  \
    "    certificate-authority-data: Q0E=\n"                                                                 \
    "    proxy-url: http://proxy:3128\n"                                                                     \
    "- name: two\n"                                                                                          \
    "  cluster: {server: 'https://10.0.0.1', insecure-skip-tls-verify: true, tls-server-name: k8s}\n"        \
    "contexts:\n"                                                                                            \
    "- {name: a, context: {cluster: one, user: by-token, namespace: team}}\n"                                \
    "- {name: b, context: {cluster: two, user: by-cert}}\n"                                                  \
    "- {name: c, context: {cluster: one, user: by-exec}}\n"                                                  \
    "- {name: lost, context: {cluster: none, user: by-exec}}\n"                                              \
    "current-context: a\n"                                                                                   \
    "users:\n"                                                                                               \
    "- {name: by-token, user: {token: 0123}}\n"                                                              \
    "- name: by-cert\n"                                                                                      \
    "  user: {client-certificate: c.pem, client-key-data: S0VZ}\n"                                           \
    "- name: by-exec\n"                                                                                      \
    "  user:\n"                                                                                              \
    "    exec:\n"                                                                                            \
    "      apiVersion: client.authentication.k8s.io/v1\n"                                                    \
    "      command: bin/login\n"                                                                             \
    "      args: [--quiet, get-token]\n"                                                                     \
    "      env: [{name: A, value: b}]\n"

static void parse(const char *context, KubeConfig *c)
{
    Err err = {0};
    if (kube_config_parse(STR(CLUSTERS), "/etc/k", context, c, &err) < 0)
        fail_msg("%s", err.msg);
}

static void test_config__the_current_context_counts(void **state)
{
    CLEANUP_KUBE_CONFIG KubeConfig c = {0};
    parse(NULL, &c);
    assert_string_equal(c.server, "https://k.example:6443");
    assert_string_equal(c.ca_pem, "CA");
    assert_string_equal(c.proxy_url, "http://proxy:3128");
    assert_string_equal(c.ns, "team");
    assert_true(secret_equals(c.token, STR("0123"))); /* as written, no number */
}

static void test_config__a_context_is_named(void **state)
{
    CLEANUP_KUBE_CONFIG KubeConfig c = {0};
    parse("b", &c);
    assert_string_equal(c.server, "https://10.0.0.1");
    assert_true(c.insecure_skip_verify);
    assert_string_equal(c.tls_server_name, "k8s");
    assert_string_equal(c.ns, "default");
    assert_string_equal(c.cert_file, "/etc/k/c.pem"); /* relative to the file */
    assert_true(secret_equals(c.key_pem, STR("KEY")));
}

static void test_config__exec(void **state)
{
    CLEANUP_KUBE_CONFIG KubeConfig c = {0};
    parse("c", &c);
    assert_string_equal(c.exec.argv[0], "/etc/k/bin/login");
    assert_string_equal(c.exec.argv[1], "--quiet");
    assert_string_equal(c.exec.argv[2], "get-token");
    assert_null(c.exec.argv[3]);
    assert_string_equal(c.exec.env[0], "A=b");
}

static void test_config__what_is_wrong_is_refused(void **state)
{
    static const struct {
        const char *text, *context, *says;
    } cases[] = {
        {CLUSTERS, "nobody", "no context \"nobody\""},
        {CLUSTERS, "lost", "names no cluster"},
        {"[]", NULL, "not a kubeconfig"},
        {"clusters: [{name: x, cluster: {server: 'ftp://x'}}]\ncontexts: [{name: x, context: {cluster: "
         "x}}]\n",
         "x", "server"},
        {"clusters: [{name: x, cluster: {server: 'https://u:p@x'}}]\ncontexts: [{name: x, context: {cluster: "
         "x}}]\n",
         "x", "user name"},
        {"clusters: [{name: x, cluster: {server: 'https://x', certificate-authority-data: '!'}}]\n"
         "contexts: [{name: x, context: {cluster: x}}]\n",
         "x", "not base64"},
        {"clusters: [{name: x, cluster: {server: 'https://x'}}]\ncontexts: [{name: x, context: {cluster: x, "
         "user: u}}]\n"
         "users: [{name: u, user: {client-certificate: a}}]\n",
         "x", "needs its key"},
        {"clusters: [{name: x, cluster: {server: 'https://x'}}]\ncontexts: [{name: x, context: {cluster: x, "
         "user: u}}]\n"
         "users: [{name: u, user: {exec: {command: a, apiVersion: "
         "client.authentication.k8s.io/v1alpha1}}}]\n",
         "x", "apiVersion"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        KubeConfig c = {0};
        Err err = {0};
        assert_true(kube_config_parse(str_from(cases[i].text), "/", cases[i].context, &c, &err) < 0);
        if (!strstr(err.msg, cases[i].says))
            fail_msg("case %zu says %s", i, err.msg);
    }
}

static char *write_file(const char *dir, const char *name, const char *text)
{
    char *path = path_join(dir, name);
    assert_int_equal(file_write_atomic(path, str_from(text), 0600, NULL), 0);
    return path;
}

static void test_config__several_files_are_merged(void **state)
{
    char dir[] = "/tmp/kube-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    CLEANUP_FREE char *first =
        write_file(dir, "1", "current-context: x\ncontexts: [{name: x, context: {cluster: one}}]\n");
    CLEANUP_FREE char *second = write_file(dir, "2", CLUSTERS);
    CLEANUP_FREE char *paths = xasprintf("%s:%s/missing:%s", first, dir, second);
    CLEANUP_KUBE_CONFIG KubeConfig c = {0};
    Err err = {0};
    if (kube_config_load(paths, NULL, &c, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(c.server, "https://k.example:6443");
    assert_null(c.token);
    assert_int_equal(kube_config_load("/nowhere/config", NULL, &c, &err), -ERR_NOT_FOUND);
    assert_int_equal(dir_remove_tree(dir, NULL), 0);
}

static void test_config__in_cluster(void **state)
{
    char dir[] = "/tmp/kube-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    CLEANUP_FREE char *ca = write_file(dir, "ca.crt", "CA\n");
    CLEANUP_FREE char *ns = write_file(dir, "namespace", "team\n");
    CLEANUP_KUBE_CONFIG KubeConfig c = {0};
    setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    assert_int_equal(kube_config_in_cluster(dir, &c, NULL), 0);
    assert_string_equal(c.server, "https://[fd00::1]:443");
    assert_string_equal(c.ns, "team");
    assert_non_null(strstr(c.token_file, "/token"));
    unsetenv("KUBERNETES_SERVICE_HOST");
    Err err = {0};
    KubeConfig none;
    assert_int_equal(kube_config_in_cluster(dir, &none, &err), -ERR_NOT_FOUND);
    assert_int_equal(dir_remove_tree(dir, NULL), 0);
}

static void test_exec_answer(void **state)
{
    ExecAnswer a = {0};
    assert_int_equal(
        kube_exec_parse(STR("{\"kind\":\"ExecCredential\",\"apiVersion\":\"x\",\"status\":{\"token\":\"t\","
                            "\"expirationTimestamp\":\"2030-01-01T00:00:00Z\"}}"),
                        &a, NULL),
        0);
    assert_true(secret_equals(a.token, STR("t")));
    assert_true(a.expires.us > 0);
    kube_exec_done(&a);
    static const char *const bad[] = {
        "",
        "{}",
        "{\"kind\":\"ExecCredential\"}",
        "{\"kind\":\"ExecCredential\",\"status\":{}}",
        "{\"kind\":\"ExecCredential\",\"status\":{\"clientCertificateData\":\"c\"}}",
        "{\"kind\":\"ExecCredential\",\"status\":{\"token\":\"t\",\"expirationTimestamp\":\"soon\"}}",
        "{\"kind\":\"Other\",\"status\":{\"token\":\"t\"}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(kube_exec_parse(str_from(bad[i]), &a, NULL), -ERR_INVALID);
}

int run_config_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config__the_current_context_counts),
        cmocka_unit_test(test_config__a_context_is_named),
        cmocka_unit_test(test_config__exec),
        cmocka_unit_test(test_config__what_is_wrong_is_refused),
        cmocka_unit_test(test_config__several_files_are_merged),
        cmocka_unit_test(test_config__in_cluster),
        cmocka_unit_test(test_exec_answer),
    };
    return cmocka_run_group_tests_name("kube-config", tests, NULL, NULL);
}
