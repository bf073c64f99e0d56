/* What comes from outside: kubeconfig files, plug-ins' answers, watches, Status objects. */
#include "base/mem.h"
#include "kube-internal.h"

/* A known fault of the YAML library: docs/dependencies.md. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so";
}

static void on_line(void *arg, Str line)
{
    CLEANUP_JSON json_t *j = NULL;
    KubeError e;
    if (json_parse(line, &j, NULL) < 0)
        return;
    json_t *object = json_get_obj(j, "object");
    kube_error_from_status(&e, object);
    kube_error_from_answer(&e, 500, j, line);
    kube_created(object);
    kube_contains(j, object);
    kube_contains(object, j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str text = {(const char *)data, size};
    KubeConfig c;
    ExecAnswer a;
    if (kube_config_parse(text, "/nowhere", NULL, &c, NULL) == 0)
        kube_config_done(&c);
    if (kube_exec_parse(text, &a, NULL) == 0)
        kube_exec_done(&a);
    for (size_t cut = 0; cut <= 2; cut++) {
        CLEANUP_BUF Buf rest = BUF_INIT(4096);
        size_t at = size * cut / 2;
        kube_lines_feed(&rest, str_slice(text, 0, at), on_line, NULL, NULL);
        kube_lines_feed(&rest, str_slice(text, at, size), on_line, NULL, NULL);
    }
    return 0;
}
