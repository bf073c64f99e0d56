/*
 * Tokens, their claims, and JWK sets: the same bytes as each of them. The keys below signed two tokens of the
 * corpus, so that the way behind a right signature is walked as well; nobody has their private halves.
 */
#include <assert.h>
#include "claims-internal.h"
#include "jwt-internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char keys_text[] =
    "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"r\",\"n\":\"zWmNAXFeNCk0oL3GOq2caEeCdqFtMDNO4kFt3bGdz85"
    "Mhl2zJpIPYPgCvohj3BwGkyczVIiWycTIw-kVRwOk8_d_3rCAL890A7ksu17TF6lZRc46E4s-jWQWz5-"
    "VboZdFZ5SyyxBm6AkGMfFf-rN66xJ-XeqQ9hC1ye4HEpKul3FOszg9eBoqtU_bPGV32qNjVdzDsmQGlF"
    "Su0OMIk1OWreBUa5oA9levBtNJBw9PCM5KaBzR2cipfwss-fkMSRPAvZJtKGbZLaHafqc0BrVqGDGmLV"
    "jmTjx5QnN2CALwSSJ-1M5KokAhdouDLHwoiyM7DjPK2LJv_V8f7Sf98H-dQ\",\"e\":\"AQAB\"},{\"kty\":"
    "\"EC\",\"kid\":\"e\",\"crv\":\"P-256\",\"x\":\"0zgfYHAu64n7MkSp35tJcUPvYHb2hyuw0JM_Lh7QIr4\",\""
    "y\":\"B7vEXDvvmaeWUSx3opO2pQCRzbJluG1BOewSOGuuAcs\"},{\"kty\":\"OKP\",\"kid\":\"d\","
    "\"crv\":\"Ed25519\",\"x\":\"2fvQbHf93AVasifK0zSNX6gZpXTKQouOdAUDUy_N9Fs\"}]}";

static void check_claims(const json_t *claims)
{
    const JwtRules rules = {"https://sso", "ambient,cli", {INT64_C(1775001600000000)}};
    CLEANUP_BUF Buf name = BUF_INIT(1024);
    Err err = {0};
    assert(jwt_check_claims(claims, &rules, &err) == 0 || err.code == ERR_UNAUTHENTICATED);
    claims_name(claims, &name);
    assert(!name.failed);
    Str username = claims_username(claims);
    assert(!username.ptr || (username.len > 0 && str_find_byte(username, ':') < 0));
}

static void check_token(Str token, const JwkSet *keys)
{
    CLEANUP(jwt_head_done) JwtHead head = {0};
    CLEANUP_JSON json_t *claims = NULL;
    Err err = {0};
    if (jwt_head(token, &head, &err) < 0) {
        assert(err.code == ERR_UNAUTHENTICATED && err.msg[0]);
        return;
    }
    const Jwk *key = jwk_set_find(keys, str_from(head.kid));
    if (key && jwt_verify(token, &head, key, &claims, &err) == 0)
        check_claims(claims);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static JwkSet *keys;
    Str bytes = {(const char *)data, size};
    CLEANUP(jwk_set_freep) JwkSet *parsed = NULL;
    CLEANUP_JSON json_t *j = NULL;
    if (!keys) {
        int rc = jwk_set_parse(str_from(keys_text), &keys, NULL);
        assert(rc == 0);
    }
    check_token(bytes, keys);
    if (jwk_set_parse(bytes, &parsed, NULL) == 0)
        assert(jwk_set_len(parsed) > 0);
    if (json_parse(bytes, &j, NULL) == 0 && json_is_object(j))
        check_claims(j);
    return 0;
}
