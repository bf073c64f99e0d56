#include "config-kube.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "kube-quantity.h"

static int choose(const char *env, const char *text, const char *no, const char *yes, bool *ret, Err *err)
{
    if (strcmp(text, no) != 0 && strcmp(text, yes) != 0)
        return err_set(err, ERR_USAGE, "%s=%s: must be %s or %s", env, text, no, yes);
    *ret = strcmp(text, yes) == 0;
    return 0;
}

static int derive_elect(KubeSettings *s, Err *err)
{
    if (strcmp(s->leader_elect_text, "auto") != 0)
        return choose("LEADER_ELECT", s->leader_elect_text, "false", "true", &s->elect, err);
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    s->elect = host && *host;
    return 0;
}

static int derive_tokens(KubeSettings *s, Err *err)
{
    const char *mode = s->token_mode_text;
    bool both = strcmp(mode, "both") == 0;
    s->token_secret = both || strcmp(mode, "secret") == 0;
    s->token_endpoint = both || strcmp(mode, "endpoint") == 0;
    if (!s->token_secret && !s->token_endpoint)
        return err_set(err, ERR_USAGE, "RUNNER_TOKEN_MODE=%s: must be endpoint, secret or both", mode);
    return 0;
}

static int check_quantities(const KubeSettings *s, Err *err)
{
    const struct {
        const char *env, *text;
    } all[] = {
        {"RUNNER_CPU_REQUEST", s->cpu_request}, {"RUNNER_MEMORY_REQUEST", s->memory_request},
        {"RUNNER_CPU_LIMIT", s->cpu_limit},     {"RUNNER_MEMORY_LIMIT", s->memory_limit},
        {"RUNNER_CPU_MAX", s->cpu_max},         {"RUNNER_MEMORY_MAX", s->memory_max},
        {"WORKSPACE_SIZE", s->workspace_size},
    };
    int64_t n;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (quantity_parse(str_from(all[i].text), &n) < 0)
            return err_set(err, ERR_USAGE, "%s=%s: no quantity", all[i].env, all[i].text);
    return 0;
}

#define RATE_MAX 100000

static int check_rates(const KubeSettings *s, Err *err)
{
    if (s->qps < 1 || s->qps > RATE_MAX || s->burst < 1 || s->burst > RATE_MAX)
        return err_set(err, ERR_USAGE, "KUBE_API_QPS, KUBE_API_BURST: must be 1 to %d", RATE_MAX);
    return 0;
}

int kube_settings_derive(KubeSettings *s, Err *err)
{
    char host[256] = "control-plane";
    int rc = choose("PLATFORM_MODE", s->platform_text, "standard", "mpp", &s->mpp, err);
    if (rc == 0)
        rc = choose("WORKSPACE_STORAGE", s->workspace_text, "emptyDir", "pvc", &s->pvc, err);
    if (rc == 0)
        rc = derive_elect(s, err);
    if (rc == 0)
        rc = derive_tokens(s, err);
    if (rc == 0)
        rc = check_quantities(s, err);
    if (rc == 0)
        rc = check_rates(s, err);
    if (!s->runtime_ns)
        s->runtime_ns = xstrdup(s->fallback_ns);
    gethostname(host, sizeof host - 1);
    if (!s->pod_name)
        s->pod_name = xstrdup(host);
    return rc;
}
