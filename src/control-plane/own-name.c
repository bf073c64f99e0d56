#include "own-name.h"

#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "crypto/crypto.h"
#include "json/json.h"

#define CLAIMS_MAX ((size_t)64 << 10)

/* RFC 7515, 7.1: header.payload.signature. */
static json_t *read_claims(Str token)
{
    CLEANUP_BUF Buf text = BUF_INIT(CLAIMS_MAX);
    json_t *claims = NULL;
    str_cut(&token, '.');
    Str payload = str_cut(&token, '.');
    if (payload.len == 0 || token.len == 0 || base64_read(payload, &text) < 0 ||
        json_parse(buf_str(&text), &claims, NULL) < 0)
        return NULL;
    return claims;
}

bool own_name(const Secret *token, char ret[static OWN_NAME_MAX])
{
    if (secret_is_empty(token))
        return false;
    CLEANUP_JSON json_t *claims = read_claims(secret_reveal(token));
    Str name = json_get_strv(claims, "username");
    if (name.len == 0)
        name = json_get_strv(claims, "preferred_username");
    if (name.len == 0 || name.len >= OWN_NAME_MAX || memchr(name.ptr, '\0', name.len))
        return false;
    snprintf(ret, OWN_NAME_MAX, STR_FMT, STR_ARG(name));
    return true;
}
