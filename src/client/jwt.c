#include "client/jwt.h"

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/crypto.h"

#define CLAIMS_MAX ((size_t)64 << 10)

/* RFC 7515, 7.1: header.payload.signature. */
json_t *jwt_claims(Str token)
{
    str_cut(&token, '.');
    Str payload = token.ptr ? str_cut(&token, '.') : STR_NULL;
    if (!payload.len || !token.ptr)
        return NULL;
    CLEANUP_BUF Buf text = BUF_INIT(CLAIMS_MAX);
    CLEANUP_JSON json_t *claims = NULL;
    if (base64_read(payload, &text) < 0 || json_parse(buf_str(&text), &claims, NULL) < 0 ||
        !json_is_object(claims))
        return NULL;
    return TAKE(claims);
}
