/* `ambient-api-server encrypt-credentials`. rest-governance-and-auth.md 4.2. */
#pragma once

#include "config.h"

int encrypt_credentials(const Config *c, Err *err); /* 0, or an exit code above it; < 0 with err */
