/* What the three files about calls share: server-call.c (state and life), server-request.c, server-answer.c.
 */
#pragma once

#include "server-internal.h"

#define CALL_MAGIC 0x6361ca11u

void srv_call_move(GrpcCall *c, CallState to);
void srv_call_set_due(GrpcCall *c, Usec due);
void srv_call_tell(GrpcCall *c); /* tells the application, once, that the call is over */
/* The message is not needed any more; the metadata may be, for the log. */
void srv_call_message_drop(GrpcCall *c);
void srv_call_request_free(GrpcCall *c);
void srv_call_cur_drop(GrpcCall *c); /* the frame that is being sent */

void srv_call_set_status(GrpcCall *c, GrpcStatus status,
                         const char *message); /* to ENDING; the answer is the caller's */
void srv_call_reset(GrpcCall *c, uint32_t code);
void srv_call_trailers_only(GrpcCall *c, const char *http_status, bool tell_encodings);
/* An answer to a request that is not even gRPC enough to have a 200. */
void srv_call_refuse(GrpcCall *c, const char *http_status, GrpcStatus status, const char *message);
void srv_call_finishf(GrpcCall *c, GrpcStatus status, const char *fmt, ...) PRINTF_LIKE(3, 4);
