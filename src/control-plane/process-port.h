/* Ports of runners, on 127.0.0.1. */
#pragma once

#include <stdint.h>
#include "base/err.h"

typedef struct PortRange {
    int64_t first, last; /* 0, 0 = any free port */
} PortRange;

int port_range_parse(const char *text, PortRange *ret, Err *err); /* "9100-9199", "9100", "0" */
/* Binds and listens on the lowest free port of the range; the caller owns *ret_fd. ERR_RATE_LIMITED: none is
 * free. */
int port_listen(const PortRange *r, int64_t *ret_port, int *ret_fd, Err *err);
