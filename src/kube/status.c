/* What a failure says: HTTP status, and the Status object that comes with it. */
#include <stdio.h>
#include <string.h>
#include "kube-internal.h"

#define RETRY_AFTER_MAX (60 * USEC_PER_SEC)
#define SAID_MAX 400

bool kube_error_is(const KubeError *e, const char *reason)
{
    return e && strcmp(e->reason, reason) == 0;
}

Usec kube_parse_retry_after(Str s)
{
    uint64_t seconds;
    if (!s.ptr || str_to_u64(str_trim(s), &seconds) < 0)
        return 0; /* a date is not sent by Kubernetes */
    if (seconds >= RETRY_AFTER_MAX / USEC_PER_SEC)
        return RETRY_AFTER_MAX;
    return seconds * USEC_PER_SEC;
}

static ErrCode code_of(int status)
{
    switch (status) {
    case 410:
        return ERR_CONFLICT; /* reason Expired */
    case 415:
    case 422:
        return ERR_INVALID;
    default:
        return err_from_http(status);
    }
}

static void copy_reason(KubeError *e, const json_t *status)
{
    const char *reason = json_get_str(status, "reason");
    if (reason)
        snprintf(e->reason, sizeof e->reason, "%s", reason);
}

static void set(KubeError *e, int status, const json_t *body)
{
    *e = (KubeError){.status = status};
    Str said = json_get_strv(body, "message");
    if (said.len > SAID_MAX)
        said.len = SAID_MAX;
    copy_reason(e, body);
    err_set(&e->err, code_of(status), "kubernetes: %d%s%s%s" STR_FMT, status, *e->reason ? " " : "",
            e->reason, said.len ? ": " : "", STR_ARG(said));
}

void kube_error_from_answer(KubeError *e, int status, const json_t *body, Str retry_after)
{
    set(e, status, json_is_object(body) ? body : NULL);
    e->retry_after = kube_parse_retry_after(retry_after);
    const json_t *details = json_get_obj(body, "details");
    int64_t seconds = json_get_int(details, "retryAfterSeconds", 0);
    if (e->retry_after == 0 && seconds > 0 && seconds <= (int64_t)(RETRY_AFTER_MAX / USEC_PER_SEC))
        e->retry_after = (Usec)seconds * USEC_PER_SEC;
}

void kube_error_from_status(KubeError *e, const json_t *status)
{
    int64_t code = json_get_int(status, "code", 500);
    set(e, code >= 400 && code <= 599 ? (int)code : 500, status);
}

void kube_error_from_err(KubeError *e, const Err *err)
{
    *e = (KubeError){.err = *err};
}
