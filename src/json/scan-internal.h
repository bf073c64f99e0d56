/* The syntax check before jansson: Go's error texts, and depth and size known before anything is built. */
#pragma once

#include "base/vec.h"
#include "json/json.h"

/* Where integers end that do not fit into 64 bits. jansson refuses them, while RFC 8259 allows them and Go
   reads them as floats. */
typedef VEC_OF(size_t)
WideInts;

/* 0 when `text` is one JSON value within the limits; jansson may still refuse its strings and numbers. */
int scan_json(Str text, WideInts *wide, Err *err);
