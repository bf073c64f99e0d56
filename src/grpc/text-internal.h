/* The text forms of gRPC's headers and the five-byte message prefix. Pure functions. */
#pragma once

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"

#define GRPC_PREFIX_LEN 5
#define GRPC_TIMEOUT_TEXT_MAX 12 /* eight digits, unit, NUL */
#define GRPC_MESSAGE_MAX 1024    /* of a status message before encoding: clients bound their trailers */

/* "100m" and so on; a value beyond USEC_NEVER is USEC_NEVER, a part of a microsecond counts as one. 0 or -1.
 */
int grpc_timeout_parse(Str s, Usec *ret);
/* The shortest unit whose number has eight digits or less, rounded up so that the peer does not give up
 * first. */
void grpc_timeout_format(Usec t, char out[static GRPC_TIMEOUT_TEXT_MAX]);

/* Is it gRPC with protobuf inside? *ret_echo (static) is the content type of the answer. */
bool grpc_content_type_ok(Str v, const char **ret_echo);

/* grpc-message: at most GRPC_MESSAGE_MAX bytes of text, cut at a character; broken UTF-8 becomes U+FFFD. */
void grpc_percent_encode(Str text, Buf *out);
/* Lenient, as the specification asks: a '%' that starts no escape stands for itself. */
void grpc_percent_decode(Str s, Buf *out);

/* Standard alphabet, with or without padding. 0 or -1. */
int grpc_base64_decode(Str s, Buf *out);
