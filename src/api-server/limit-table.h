/* The limits of limits.def as data: checked at start, shown by /debug/state. */
#pragma once

#include "base/buf.h"
#include "config.h"

int limits_check(const Config *c, Err *err);
/* Members of a JSON object: "flag":value. */
void limits_write(const Config *c, Buf *out);
