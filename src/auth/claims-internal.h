/* From verified claims to a person. */
#pragma once

#include "base/buf.h"
#include "json/json.h"

/* The one order of claims that decides who somebody is: username, preferred_username, sub; the first that is
   not empty, holds no ':' (names of the cluster's own accounts do) and is plain text. ptr NULL when there is
   none. */
Str claims_username(const json_t *claims);
Str claims_plain(const json_t *claims, const char *name); /* one claim as it is; "" when it is not text */
Str claims_email(const json_t *claims);                   /* may be empty */
/* "Ada Lovelace" from first_name, last_name, given_name, family_name or name; may stay empty. */
void claims_name(const json_t *claims, Buf *out);
