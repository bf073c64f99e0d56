/*
 * Puts length-prefixed messages together from bytes that arrive in any pieces. Memory grows with what has
 * arrived, not with what a prefix promises, and never beyond the limit.
 */
#pragma once

#include "base/buf.h"
#include "text-internal.h"

typedef struct MessageReader {
    uint8_t prefix[GRPC_PREFIX_LEN];
    uint8_t have; /* bytes of the prefix */
    Buf body;     /* its maximum is the limit */
    uint32_t length;
} MessageReader;

typedef enum MessageResult {
    MESSAGE_MORE,       /* all bytes taken, none complete */
    MESSAGE_COMPLETE,   /* message_body() until message_next() */
    MESSAGE_TOO_LARGE,  /* the prefix says more than the limit: nothing was kept */
    MESSAGE_COMPRESSED, /* flag 1 */
    MESSAGE_BAD_FLAG,
} MessageResult;

void message_init(MessageReader *r, size_t max);
void message_done(MessageReader *r);
/* Takes bytes from the front of *bytes up to the end of the current message. */
MessageResult message_read(MessageReader *r, Str *bytes);
Str message_body(const MessageReader *r);
void message_next(MessageReader *r);
bool message_is_partial(const MessageReader *r); /* inside a message, not complete */
