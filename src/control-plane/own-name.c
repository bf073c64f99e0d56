#include "own-name.h"

#include <stdio.h>
#include <string.h>
#include "base/cleanup.h"
#include "client/jwt.h"

bool own_name(const Secret *token, char ret[static OWN_NAME_MAX])
{
    if (secret_is_empty(token))
        return false;
    CLEANUP_JSON json_t *claims = jwt_claims(secret_reveal(token));
    Str name = json_get_strv(claims, "username");
    if (name.len == 0)
        name = json_get_strv(claims, "preferred_username");
    if (name.len == 0 || name.len >= OWN_NAME_MAX || memchr(name.ptr, '\0', name.len))
        return false;
    snprintf(ret, OWN_NAME_MAX, STR_FMT, STR_ARG(name));
    return true;
}
