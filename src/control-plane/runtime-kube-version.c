/* What the cluster knows how to do; asked each time we begin to lead, as clusters are upgraded under us. */
#include <stdlib.h>
#include "base/log.h"
#include "kube-sidecars.h"
#include "runtime-kube-internal.h"

#define RETRY (2 * USEC_PER_SEC)
/* Since then init containers with restartPolicy Always are on unless turned off. */
#define NATIVE_SINCE 29

static void on_version(void *arg, json_t *body, const KubeError *e)
{
    KubeRuntime *k = arg;
    k->version_call = NULL;
    if (e) {
        log_warn("version of the Kubernetes API", F_ERR(&e->err));
        timer_arm(k->version_timer, RETRY);
        return;
    }
    const char *major = json_get_str(body, "major"), *minor = json_get_str(body, "minor");
    long big = major ? strtol(major, NULL, 10) : 0;
    long small = minor ? strtol(minor, NULL, 10) : 0; /* "29+" where somebody has changed it */
    k->version_known = true;
    k->native_sidecars = big > 1 || (big == 1 && small >= NATIVE_SINCE);
    log_info("kubernetes", F_STR("major", major ? major : ""), F_STR("minor", minor ? minor : ""),
             F_BOOL("native_sidecars", k->native_sidecars));
}

void ask_version(void *arg)
{
    KubeRuntime *k = arg;
    if (!kube_sidecars_wanted(k->settings) || k->version_call)
        return;
    k->version_call =
        kube_send(k->o.kube, KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_VERSION), on_version, k);
}

void forget_version(KubeRuntime *k)
{
    kube_cancel(k->version_call);
    k->version_call = NULL;
    timer_cancel(k->version_timer);
    k->version_known = false;
}
