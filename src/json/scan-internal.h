/* The syntax check before jansson: Go's error texts, and depth and size known before anything is built. */
#pragma once

#include "json/json.h"

/* 0 when `text` is one JSON value within the limits; jansson may still refuse its strings and numbers. */
int scan_json(Str text, Err *err);
