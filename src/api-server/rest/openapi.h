/* The parts of the OpenAPI document. */
#pragma once

#include "rest-internal.h"

void openapi_schemas(Buf *out);
void openapi_text(Buf *out, const char *key, const char *text);
