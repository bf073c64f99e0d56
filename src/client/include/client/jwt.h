/*
 * A token's claims (RFC 7519), read without verifying its signature: of tokens of one's own, which come from
 * the issuer itself and are verified by whoever takes them.
 */
#pragma once

#include "base/str.h"
#include "json/json.h"

json_t *jwt_claims(Str token); /* an object, the caller's; NULL = it is no JWT */
