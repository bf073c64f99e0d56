/* An answer of server-sent events that is fed by the tap. */
#pragma once

#include "http/server.h"
#include "tap.h"

/* Begins the answer; it ends with the reader, and the reader with it. */
void http_stream_events(Loop *l, HttpReq *req, Tap *tap, const TapOptions *o);
