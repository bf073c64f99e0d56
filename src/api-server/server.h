/* The server: store, service, hub, listeners, from start to a graceful end. */
#pragma once

#include "config.h"
#include "base/err.h"

/* Serves until SIGTERM or SIGINT; 0 after a graceful end. */
int server_run(const Config *c, Err *err);
