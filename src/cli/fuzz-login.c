/* What an issuer sends: the same bytes as an ID token, as its claims, and as the answer of the token
 * endpoint. */
#include <assert.h>
#include <string.h>
#include "base/buf.h"
#include "crypto/crypto.h"
#include "jwt.h"
#include "oidc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_token(Str token)
{
    const IdTokenRules rules = {"https://issuer", "acpctl", "n", {INT64_C(1775001600000000)}};
    Jwt jwt = {0};
    Err err = {0};
    if (jwt_read(token, &jwt) == 0)
        assert(jwt.exp.us >= 0 && jwt.iat.us >= 0);
    jwt_done(&jwt);
    if (id_token_check(token, &rules, &err) < 0)
        assert(err.code == ERR_UNAUTHENTICATED && err.msg[0]);
}

static void check_answer(Str text)
{
    CLEANUP_JSON json_t *body = NULL;
    OidcTokens t = {0};
    if (json_parse(text, &body, NULL) < 0 || oidc_tokens_read(body, &t, NULL) < 0)
        return;
    Str token = secret_reveal(t.access);
    assert(token.len > 0 && str_find_byte(token, '\n') < 0 && str_find_byte(token, ' ') < 0);
    assert(t.expires_in >= 0);
    oidc_tokens_done(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str text = {(const char *)data, size};
    CLEANUP_BUF Buf token = BUF_INIT((size_t)1 << 20);
    check_token(text);
    check_answer(text);
    buf_addz(&token, "e30.");
    base64url_write(&token, data, size);
    buf_addz(&token, ".c2ln");
    check_token(buf_str(&token));
    return 0;
}
