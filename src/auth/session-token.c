#include "auth/session-token.h"

#include <string.h>
#include "base/mem.h"
#include "crypto/crypto.h"
#include "json/json.h"

/* {"alg":"HS256","typ":"JWT"} */
#define HEADER "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
#define ISSUER "ambient-api-server"
#define SUBJECT "session:"
#define TOKEN_MAX ((size_t)4096)
#define SKEW (30 * (int64_t)USEC_PER_SEC) /* between the clocks of two replicas */

static void add_claims(const SessionToken *t, Buf *out)
{
    (void)buf_addz(out, "{\"iss\":\"" ISSUER "\",\"sub\":");
    CLEANUP_FREE char *subject = xasprintf(SUBJECT "%s", t->session_id);
    json_write_str(out, str_from(subject));
    (void)buf_addz(out, ",\"run\":");
    json_write_str(out, str_from(t->run_id));
    (void)buf_addf(out, ",\"iat\":%lld,\"exp\":%lld}", (long long)(t->issued.us / (int64_t)USEC_PER_SEC),
                   (long long)(t->expires.us / (int64_t)USEC_PER_SEC));
}

int session_token_make(const Secret *key, const SessionToken *t, Buf *out, Err *err)
{
    CLEANUP_BUF Buf claims = BUF_INIT(TOKEN_MAX), text = BUF_INIT(TOKEN_MAX);
    uint8_t mac[SHA256_LEN];
    add_claims(t, &claims);
    (void)buf_addz(&text, HEADER);
    base64url_write(&text, claims.data, claims.len);
    hmac_sha256(secret_reveal(key), buf_str(&text), mac);
    (void)buf_addc(&text, '.');
    base64url_write(&text, mac, sizeof(mac));
    int rc = buf_check(&claims, err);
    if (rc == 0)
        rc = buf_check(&text, err);
    if (rc == 0)
        rc = buf_adds(out, buf_str(&text));
    secret_erase(text.data, text.len);
    return rc;
}

bool session_token_looks_like(Str token)
{
    return str_starts(token, STR(HEADER));
}

/* ---- reading ---- */

static int refuse(Err *err, const char *why)
{
    return err_set(err, ERR_UNAUTHENTICATED, "session token: %s", why);
}

/* Splits at the last dot and compares in constant time. */
static bool is_signed(const Secret *key, Str token, Str *ret_claims)
{
    CLEANUP_BUF Buf mac = BUF_INIT(256);
    uint8_t want[SHA256_LEN];
    size_t dot = token.len;
    while (dot > 0 && token.ptr[dot - 1] != '.')
        dot--;
    if (dot <= sizeof(HEADER) - 1)
        return false;
    Str text = str_slice(token, 0, dot - 1);
    if (base64_read(str_slice(token, dot, token.len), &mac) < 0 || mac.len != SHA256_LEN)
        return false;
    hmac_sha256(secret_reveal(key), text, want);
    *ret_claims = str_slice(text, sizeof(HEADER) - 1, text.len);
    return mem_equal_consttime(want, mac.data, SHA256_LEN);
}

static bool copy_id(char to[static SESSION_TOKEN_ID_MAX + 1], Str s)
{
    if (!s.len || s.len > SESSION_TOKEN_ID_MAX)
        return false;
    memcpy(to, s.ptr, s.len);
    to[s.len] = '\0';
    return true;
}

static bool read_claims(const json_t *claims, SessionToken *t)
{
    Str subject = json_get_strv(claims, "sub"), prefix = STR(SUBJECT);
    Str issuer = json_get_strv(claims, "iss");
    int64_t expires = json_get_int(claims, "exp", 0), issued = json_get_int(claims, "iat", 0);
    const int64_t most = INT64_MAX / (int64_t)USEC_PER_SEC;
    if (!str_eqz(issuer, ISSUER) || !str_starts(subject, prefix) || expires <= 0 || expires > most ||
        issued <= 0 || issued > most)
        return false;
    t->expires.us = expires * (int64_t)USEC_PER_SEC;
    t->issued.us = issued * (int64_t)USEC_PER_SEC;
    return copy_id(t->session_id, str_slice(subject, prefix.len, subject.len)) &&
           copy_id(t->run_id, json_get_strv(claims, "run"));
}

int session_token_read(const Secret *key, Str token, WallUsec now, SessionToken *ret, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(TOKEN_MAX);
    CLEANUP_JSON json_t *claims = NULL;
    SessionToken t = {0};
    Str encoded;
    if (token.len > TOKEN_MAX || !session_token_looks_like(token) || !is_signed(key, token, &encoded))
        return refuse(err, "its signature is not ours");
    if (base64_read(encoded, &text) < 0 || json_parse(buf_str(&text), &claims, NULL) < 0 ||
        !read_claims(claims, &t))
        return refuse(err, "its claims are not ours");
    if (now.us >= t.expires.us)
        return refuse(err, "it has expired");
    if (t.issued.us > now.us + SKEW)
        return refuse(err, "it is not valid yet");
    *ret = t;
    return 0;
}
