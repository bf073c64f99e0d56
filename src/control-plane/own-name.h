/* The name by which an API server knows us: what our own token says, as what is configured may lack a prefix
   that the identity provider adds ("service-account-"). Contract, (85). */
#pragma once

#include "base/secret.h"

#define OWN_NAME_MAX 256

/* The `username`, else `preferred_username`, of a token that is a JWT; false: it is none, or names nobody.
   The token is ours, so its signature is not checked. */
bool own_name(const Secret *token, char ret[static OWN_NAME_MAX]);
