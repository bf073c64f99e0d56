/* Random bytes from the kernel. Thread-safe, keeps no state, so it is also right after a fork. */
#pragma once

#include <stddef.h>

void random_bytes(void *out, size_t len); /* getrandom(2); aborts if the kernel has none */
