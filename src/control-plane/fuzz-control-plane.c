/* What the control plane reads from others, the first byte says which: a session's conditions and variables,
   a pod, a shim's report and spec, a command line. Whatever is accepted must survive being written and read
   again.
 */
#include <assert.h>
#include <stdlib.h>
#include "base/mem.h"
#include "conditions.h"
#include "config.h"
#include "kube-pod-view.h"
#include "process-env.h"
#include "shim-spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_conditions(Str text)
{
    CLEANUP_CONDITIONS Conditions c, again;
    CLEANUP_BUF Buf b = BUF_INIT(1 << 24), twice = BUF_INIT(1 << 24);
    conditions_init(&c, text, (WallUsec){1});
    conditions_set(&c, "Ready", true, "Because", NULL);
    conditions_write(&c, &b);
    conditions_init(&again, buf_str(&b), (WallUsec){2});
    conditions_set(&again, "Ready", true, "Because", NULL);
    assert(!again.changed);
    conditions_write(&again, &twice);
    assert(str_eq(buf_str(&b), buf_str(&twice)));
}

static void fuzz_env(Str text)
{
    Config c = {.runner_log_level = (char[]){"info"},
                .backend_api_url = (char[]){""},
                .grpc_address = (char[]){"a:1"}};
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_session);
    obj_set_str(o, SESSION_ENVIRONMENT_VARIABLES, text);
    obj_set_str(o, SESSION_REPOS, text);
    obj_set_str(o, SESSION_WORKFLOW_ID, text);
    obj_set_str(o, SESSION_REPO_URL, text);
    const RunnerEnv e = {
        .config = &c, .session = o, .cookie = "c", .workspace = "/w", .token_file = "/t", .agui_token = "a"};
    StrVec v = {0};
    runner_env_build(&e, &v);
    for (size_t i = 0; i < v.len; i++) {
        Str rest = str_from(v.ptr[i]), name = str_cut(&rest, '=');
        assert(name.len > 0 && !str_starts(name, STR("LD_")));
    }
    strvec_done(&v);
}

static void fuzz_spec(Str text)
{
    CLEANUP_SHIM_SPEC ShimSpec s;
    CLEANUP_SHIM_SPEC ShimSpec again;
    CLEANUP_BUF Buf b = BUF_INIT(1 << 24), twice = BUF_INIT(1 << 24);
    shim_spec_init(&s);
    shim_spec_init(&again);
    if (shim_spec_read(text, &s, NULL) < 0)
        return;
    assert(shim_spec_write(&s, &b, NULL) == 0);
    assert(shim_spec_read(buf_str(&b), &again, NULL) == 0);
    assert(shim_spec_write(&again, &twice, NULL) == 0);
    assert(str_eq(buf_str(&b), buf_str(&twice)));
}

static void fuzz_command(Str text)
{
    CLEANUP_FREE char *line = str_dup(text);
    StrVec v = {0};
    if (command_split(line, &v, NULL) == 0)
        assert(v.len > 0);
    strvec_done(&v);
}

/* A pod as the cluster says it is, and later as it goes on. */
static void fuzz_pod(Str text)
{
    static const KubeSettings s = {
        .image_timeout = 1, .config_timeout = 1, .schedule_timeout = 1, .node_timeout = 1};
    CLEANUP_JSON json_t *pod = NULL;
    PodView v, later;
    RtObserved o;
    if (json_parse(text, &pod, NULL) < 0)
        return;
    pod_view_read(pod, NULL, (WallUsec){1}, &v);
    pod_view_read(pod, &v, (WallUsec){2}, &later);
    pod_view_judge(&later, &s, (WallUsec){9}, &o);
    assert(o.state != RT_ABSENT && (o.state == RT_ENDED) == (o.end != RT_END_NONE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    Str text = {(const char *)data + 1, size - 1};
    ShimReport r;
    switch (data[0]) {
    case 'c':
        fuzz_conditions(text);
        break;
    case 'e':
        fuzz_env(text);
        break;
    case 's':
        fuzz_spec(text);
        break;
    case 'p':
        fuzz_pod(text);
        break;
    case 'r':
        (void)shim_report_read(text, &r, NULL);
        break;
    default:
        fuzz_command(text);
        break;
    }
    return 0;
}
