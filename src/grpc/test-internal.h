/* Shared by the unit tests of this room: cmocka, and a peer that speaks HTTP/2 by hand. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <nghttp2/nghttp2.h>
#include "base/buf.h"
#include "sink-internal.h"

int run_text_tests(void);
int run_message_tests(void);
int run_meter_tests(void);
int run_server_tests(void);
int run_flood_tests(void);
int run_client_tests(void);
int run_loop_tests(void);

/* ---- a peer: makes frames into `out`, reads frames from `in` ---- */

typedef struct PeerFrame {
    uint8_t type, flags;
    int32_t stream_id;
    Str payload; /* of HEADERS: as encoded */
    Buf fields;  /* of HEADERS: "name: value\n" for each, decoded */
} PeerFrame;

typedef struct Peer {
    Buf out, in;
    size_t in_pos;
    nghttp2_hd_deflater *deflater;
    nghttp2_hd_inflater *inflater;
    PeerFrame frame; /* the last one read */
} Peer;

void peer_init(Peer *p);
void peer_done(Peer *p);
void peer_raw(Peer *p, Str bytes);
void peer_magic(Peer *p);
void peer_frame(Peer *p, uint8_t type, uint8_t flags, int32_t stream_id, Str payload);
/* fields: "name: value" strings, NULL at the end. */
void peer_headers(Peer *p, int32_t stream_id, uint8_t flags, const char *const *fields);
/* The header block alone, appended to `block`. */
void peer_encode(Peer *p, const char *const *fields, Buf *block);
void peer_data(Peer *p, int32_t stream_id, uint8_t flags, Str bytes);
/* The next frame that the other side wrote, into p->frame; false when there is no whole one. */
bool peer_next(Peer *p);
/* Skips frames up to one of this type and stream (-1 = any); fails the test when there is none. */
PeerFrame *peer_expect(Peer *p, uint8_t type, int32_t stream_id);
/* Is there a frame of this type among those not read yet? Reads them all. */
bool peer_saw(Peer *p, uint8_t type);
uint32_t peer_u32(Str payload, size_t at);
void peer_assert_field(const PeerFrame *f, const char *line); /* "grpc-status: 0" */
Str grpc_framed(Buf *b, Str message);                         /* the prefix and the message, in b */

/* ---- a sink for sessions under test ---- */

typedef struct TestSink {
    Peer *peer;          /* gets the bytes */
    size_t max;          /* full() beyond this many unread bytes; 0 = never */
    bool woken, blocked; /* blocked: full() from now on */
    Usec due;
} TestSink;
H2Sink test_sink(TestSink *t);
