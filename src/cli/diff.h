/* Two texts, line by line, as `diff -u` shows them. */
#pragma once

#include "base/buf.h"

/* Adds the difference with three lines around each change; nothing when they are equal. A name of NULL is
   /dev/null. color: with the escape sequences of a terminal. */
void diff_texts(Buf *out, const char *name_a, Str a, const char *name_b, Str b, bool color);
