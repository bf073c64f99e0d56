/* The sink of a session that has a socket: small writes are gathered in a scratch buffer, which connections
   of one owner share, as it is only in use between conn_out_begin() and conn_out_end(). */
#pragma once

#include "loop/conn.h"
#include "sink-internal.h"

typedef struct ConnOut {
    Conn *conn;
    Buf *scratch;
    size_t max;
} ConnOut;

void conn_out_scratch_init(Buf *scratch);
void conn_out_write(ConnOut *o, Str bytes);
void conn_out_write_frame(ConnOut *o, GrpcFrame *f, Str part);
bool conn_out_full(const ConnOut *o);
void conn_out_end(ConnOut *o); /* everything gathered is with the connection after it */
