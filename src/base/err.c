#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"

static const ErrInfo infos[_ERR_MAX] = {
    [ERR_OK] = {"OK", 200, 0, 0, 0, false, ""},
#define ERR(name, http, ref, grpc, exit_code, retry, reason)                                                 \
    [ERR_##name] = {#name, http, ref, grpc, exit_code, retry, reason},
#include "base/errors.def"
#undef ERR
};

static const struct GrpcStatus {
    const char *name; /* as Go's codes.Code.String() */
    ErrCode code;
} grpc_statuses[] = {
    {"OK", ERR_OK},
    {"Canceled", ERR_CANCELLED},
    {"Unknown", ERR_INTERNAL},
    {"InvalidArgument", ERR_INVALID},
    {"DeadlineExceeded", ERR_DEADLINE},
    {"NotFound", ERR_NOT_FOUND},
    {"AlreadyExists", ERR_CONFLICT},
    {"PermissionDenied", ERR_FORBIDDEN},
    {"ResourceExhausted", ERR_RATE_LIMITED},
    {"FailedPrecondition", ERR_PRECONDITION},
    {"Aborted", ERR_CONFLICT},
    {"OutOfRange", ERR_INVALID},
    {"Unimplemented", ERR_UNIMPLEMENTED},
    {"Internal", ERR_INTERNAL},
    {"Unavailable", ERR_UNAVAILABLE},
    {"DataLoss", ERR_CORRUPT},
    {"Unauthenticated", ERR_UNAUTHENTICATED},
};

/* The code of this thread's last failure, for err_wrap() without an Err: the failed call just before went
   through err_set(), with the same NULL. */
static _Thread_local ErrCode last_code = ERR_INTERNAL;

/* Messages quote what peers sent, so bytes that are not UTF-8 become '?'. */
static void make_utf8(char *msg, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t seq = str_utf8_seq((Str){msg + at, len - at});
        if (!seq)
            msg[at] = '?';
        at += seq ? seq : 1;
    }
}

/* `full` is what snprintf wanted to write. Cuts between characters and marks the cut. */
static void finish_text(char *text, size_t size, int full)
{
    size_t len = full < 0 ? 0 : (size_t)full;
    if (len >= size) {
        len = size - sizeof("...");
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
        memcpy(text + len, "...", sizeof("..."));
        make_utf8(text, len);
        return;
    }
    text[len] = '\0';
    make_utf8(text, len);
}

int err_set(Err *err, ErrCode code, const char *fmt, ...)
{
    last_code = code;
    if (!err)
        return -(int)code;
    char text[sizeof(err->msg)]; /* the arguments may point into err->msg */
    va_list ap;
    va_start(ap, fmt);
    int full = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    finish_text(text, sizeof(text), full);
    memcpy(err->msg, text, sizeof(text));
    err->code = code;
    return -(int)code;
}

int err_set_errno(Err *err, int errnum, const char *fmt, ...)
{
    ErrCode code = errnum == ENOSPC || errnum == EDQUOT ? ERR_NO_SPACE : ERR_IO;
    last_code = code;
    if (!err)
        return -(int)code;
    char context[sizeof(err->msg)], reason[128];
    va_list ap;
    va_start(ap, fmt);
    int full = vsnprintf(context, sizeof(context), fmt, ap);
    va_end(ap);
    finish_text(context, sizeof(context), full);
    return err_set(err, code, "%s: %s", context, strerror_r(errnum, reason, sizeof(reason)));
}

int err_wrap(Err *err, const char *fmt, ...)
{
    if (!err)
        return -(int)last_code;
    char context[sizeof(err->msg)];
    va_list ap;
    va_start(ap, fmt);
    int full = vsnprintf(context, sizeof(context), fmt, ap);
    va_end(ap);
    finish_text(context, sizeof(context), full);
    return err_set(err, err->code, "%s: %s", context, err->msg);
}

const ErrInfo *err_info(ErrCode code)
{
    if ((int)code < 0 || code >= _ERR_MAX)
        code = ERR_INTERNAL;
    return &infos[code];
}

ErrCode err_from_http(int status)
{
    if (status >= 200 && status < 300)
        return ERR_OK;
    for (int code = ERR_OK + 1; code < _ERR_MAX; code++)
        if (infos[code].http_status == status)
            return (ErrCode)code;
    if (status == 408)
        return ERR_DEADLINE;
    if (status == 410)
        return ERR_NOT_FOUND;
    if (status >= 400 && status < 500)
        return ERR_BAD_REQUEST;
    return ERR_INTERNAL;
}

ErrCode err_from_grpc(int grpc_status)
{
    if (grpc_status < 0 || (size_t)grpc_status >= ARRAY_LEN(grpc_statuses))
        return ERR_INTERNAL;
    return grpc_statuses[grpc_status].code;
}

const char *err_grpc_name(int grpc_status)
{
    if (grpc_status < 0 || (size_t)grpc_status >= ARRAY_LEN(grpc_statuses))
        return "Unknown";
    return grpc_statuses[grpc_status].name;
}
