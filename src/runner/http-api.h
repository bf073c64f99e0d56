/*
 * The runner's HTTP interface (port 8001 in a pod): health, the event stream, runs and interrupts, under the
 * native paths and the /agui aliases. Error bodies are {"detail": ...} as FastAPI prints them, which clients
 * know.
 */
#pragma once

#include "loop/loop.h"

struct Runner;
typedef struct HttpApi HttpApi;
int http_api_new(Loop *l, struct Runner *r, HttpApi **ret, Err *err);
HttpApi *http_api_free(HttpApi *a); /* NULL-safe */
