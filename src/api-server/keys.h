/* The key ring of secrets at rest, from the settings. rest-governance-and-auth.md 4.1. */
#pragma once

#include "config.h"
#include "crypto/keyring.h"

/* *ret is NULL when plain text is allowed and no ring is given. ERR_INVALID: the ring, or its lack. */
int keys_load(const Config *c, KeyRing **ret, Err *err);
/* One line on standard error, in the reference's words. */
void keys_announce(const KeyRing *k);
