/* Rules of RFC 9110 that both the client and the server check. */
#pragma once

#include <stdbool.h>
#include "base/str.h"

bool http_is_token(Str s);       /* a method or a header name; not empty */
bool http_is_field_value(Str s); /* no control characters but HTAB */
