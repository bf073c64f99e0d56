/*
 * Errors. A function that can fail returns 0, or a negative error code, and takes `Err *err` as its last
 * parameter (NULL allowed). Err is a plain value with a fixed-size message: failing needs no memory. It is
 * left untouched on success. Each level that knows more wraps once: "store: list sessions: disk I/O error".
 * Lower rooms never log an error that they return; whoever handles it logs it.
 */
#pragma once

#include <stdbool.h>
#include "base/cleanup.h"

typedef enum ErrCode {
    ERR_OK = 0,
#define ERR(name, http, ref, grpc, exit_code, retry, reason) ERR_##name,
#include "base/errors.def"
#undef ERR
    _ERR_MAX,
} ErrCode;

typedef struct Err {
    ErrCode code;
    char msg[512]; /* NUL-terminated UTF-8, truncated with "..." when longer */
} Err;

typedef struct ErrInfo {
    const char *name; /* "NOT_FOUND" */
    int http_status;  /* 404 */
    int reference_no; /* the number in "ambient-api-server-7" */
    int grpc_status;  /* 5 */
    int exit_code;    /* of acpctl */
    bool may_retry;
    const char *reason; /* default text */
} ErrInfo;

/* Both return -(int)code, so that `return err_set(err, ...)` ends a function. */
int err_set(Err *err, ErrCode code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Like err_set with ": <strerror(errnum)>" behind; ENOSPC and EDQUOT become ERR_NO_SPACE, others ERR_IO. */
int err_set_errno(Err *err, int errnum, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Puts "context: " before the message of a call that just failed and returns its code again. */
int err_wrap(Err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

const ErrInfo *err_info(ErrCode code);      /* never NULL; unknown codes give INTERNAL's */
ErrCode err_from_http(int status);          /* nearest code for an HTTP status of a peer */
ErrCode err_from_grpc(int grpc_status);     /* nearest code for a gRPC status of a peer; 0 is ERR_OK */
const char *err_grpc_name(int grpc_status); /* "NotFound" as in grpc_requests_total{code} */
