#include "jwt.h"

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "json/json.h"

static char *claim(const json_t *claims, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        Str v = json_get_strv(claims, names[i]);
        if (v.len)
            return str_dup(v);
    }
    return NULL;
}

int jwt_read(Str token, Jwt *ret)
{
    static const char *const user[] = {"username", "preferred_username", "sub"};
    static const char *const subject[] = {"sub"}, *const email[] = {"email"};
    str_cut(&token, '.');
    Str payload = token.ptr ? str_cut(&token, '.') : STR_NULL;
    if (!payload.len || !token.ptr)
        return -1;
    CLEANUP_BUF Buf text = BUF_INIT(64 * 1024);
    CLEANUP_JSON json_t *claims = NULL;
    if (base64_read(payload, &text) < 0 || json_parse(buf_str(&text), &claims, NULL) < 0 ||
        !json_is_object(claims))
        return -1;
    *ret = (Jwt){
        .username = claim(claims, user, ARRAY_LEN(user)),
        .subject = claim(claims, subject, 1),
        .email = claim(claims, email, 1),
    };
    int64_t exp = json_get_int(claims, "exp", 0);
    if (exp > 0 && exp < INT64_MAX / 1000000)
        ret->exp.us = exp * 1000000;
    return 0;
}

void jwt_done(Jwt *j)
{
    free(j->username);
    free(j->subject);
    free(j->email);
    *j = (Jwt){0};
}
