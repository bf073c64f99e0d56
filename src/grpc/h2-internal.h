/* Small helpers on nghttp2 that the server's and the client's sessions share. */
#pragma once

#include <nghttp2/nghttp2.h>
#include "sink-internal.h"

enum {
    H2_FRAME_HEAD = 9,
    H2_STREAM_WINDOW = 1 << 20,
    H2_CONN_WINDOW = 8 << 20,
    H2_FIELDS_MAX = 48,
};

void h2_put_u32(uint8_t *p, uint32_t v);
/* GOAWAY written by hand, for a session that nghttp2 has given up on. `reason` is short. */
void h2_goaway_write(const H2Sink *sink, int32_t last_stream_id, uint32_t code, const char *reason);
/* Result of a submission: out of memory ends the program, other errors say that the stream is closing, of
   which a callback tells in due course. */
void h2_check(int rv);
/* Callbacks, which the caller fills and gives to h2_new_server() or h2_new_client(), which delete them. */
nghttp2_session_callbacks *h2_callbacks_new(void);
nghttp2_session *h2_new_server(nghttp2_session_callbacks *cb, void *user);
nghttp2_session *h2_new_client(nghttp2_session_callbacks *cb, void *user);

/* A list of header fields for one submission, which copies the values. */
typedef struct H2Fields {
    nghttp2_nv nv[H2_FIELDS_MAX];
    size_t len;
} H2Fields;
void h2_field_add(H2Fields *f, const char *name, Str value);
/* For secrets: no table on either side keeps the value. */
void h2_field_add_secret(H2Fields *f, const char *name, Str value);
