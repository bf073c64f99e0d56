/* Asks a runner for GET /health until it answers 200, or has had its time. Loop thread. */
#pragma once

#include "http/client.h"
#include "loop/loop.h"

typedef struct Health Health;
typedef void (*HealthDone)(void *arg, bool healthy); /* once */

Health *health_start(Loop *l, HttpClient *http, int64_t port, Usec patience, HealthDone done, void *arg);
Health *health_free(Health *h); /* NULL-safe, returns NULL; safe inside `done` */
