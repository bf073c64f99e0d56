/* The server: store, service, hub, listeners, from start to a graceful end. */
#pragma once

#include "config.h"
#include "base/err.h"
#include "crypto/keyring.h"

/* Serves until SIGTERM or SIGINT; 0 after a graceful end. */
int server_run(const Config *c, const KeyRing *keys, Err *err);
