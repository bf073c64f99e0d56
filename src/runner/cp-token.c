#include "cp-token.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/log.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "http/brief.h"
#include "http/url.h"
#include "json/json.h"

#define REFRESH (5 * 60 * USEC_PER_SEC)
#define RETRY_MIN USEC_PER_SEC
#define RETRY_MAX (30 * USEC_PER_SEC)
#define PATIENCE (10 * USEC_PER_SEC)
#define ANSWER_MAX ((size_t)64 << 10)

struct CpToken {
    Loop *loop;
    CpTokenOptions o;
    TlsContext *tls;
    Secret *bearer; /* the sealed id: whoever has it gets the token */
    BriefGet *call;
    Timer *timer;
    Usec retry;
};

static void again(CpToken *t, const char *why)
{
    log_warn("no token from the control plane, will retry", F_STR("error", why),
             F_UINT("retry_in", t->retry / USEC_PER_MSEC));
    timer_arm(t->timer, t->retry);
    t->retry = t->retry * 2 < RETRY_MAX ? t->retry * 2 : RETRY_MAX;
}

static void use(CpToken *t, Str body)
{
    CLEANUP_JSON json_t *answer = NULL;
    Str token = json_parse(body, &answer, NULL) == 0 ? json_get_strv(answer, "token") : STR_NULL;

    if (!token.len) {
        again(t, "the answer holds no token");
        return;
    }
    token_source_set(t->o.target, token);
    t->retry = RETRY_MIN;
    timer_arm(t->timer, REFRESH);
    if (t->o.on_token)
        t->o.on_token(t->o.arg);
}

static void on_answer(void *arg, int status, Str body, const Err *err)
{
    CpToken *t = arg;
    char text[32];

    t->call = NULL;
    snprintf(text, sizeof(text), "status %d", status);
    if (err || status != 200)
        again(t, err ? err->msg : text);
    else
        use(t, body);
}

static void ask(void *arg)
{
    CpToken *t = arg;
    CLEANUP(secret_freep) Secret *proof = NULL;
    Err err = {0};

    if (t->o.proof_file && *t->o.proof_file && secret_from_file(t->o.proof_file, &proof, &err) < 0) {
        again(t, err.msg);
        return;
    }
    const BriefRequest request = {.url = t->o.url,
                                  .bearer = t->bearer,
                                  .proof_name = "X-Ambient-SA-Token",
                                  .proof = proof,
                                  .tls = t->tls,
                                  .timeout = PATIENCE,
                                  .max = ANSWER_MAX};
    if (brief_get(t->loop, &request, on_answer, t, &t->call, &err) < 0)
        again(t, err.msg);
}

static int seal(CpToken *t, Err *err)
{
    CLEANUP(rsa_key_freep) RsaKey *key = NULL;
    CLEANUP_BUF Buf sealed = BUF_INIT(4096), text = BUF_INIT(8192);
    int rc = rsa_key_read_public(str_from(t->o.public_key), &key, err);

    if (rc == 0)
        rc = rsa_oaep_seal(key, str_from(t->o.session_id), &sealed, err);
    if (rc < 0)
        return err_wrap(err, "AMBIENT_CP_TOKEN_PUBLIC_KEY");
    base64_write(&text, sealed.data, sealed.len);
    t->bearer = secret_new(buf_str(&text));
    return 0;
}

static int check_url(CpToken *t, Err *err)
{
    Url u;
    int rc = url_parse(str_from(t->o.url), &u, err);

    if (rc < 0)
        return err_wrap(err, "AMBIENT_CP_TOKEN_URL");
    if (u.has_userinfo)
        return err_set(err, ERR_USAGE, "AMBIENT_CP_TOKEN_URL must not hold a user");
    const TlsOptions tls = {.ca_file = t->o.ca_file, .alpn = "http/1.1"};
    return str_eqz(u.scheme, "https") ? tls_client_new(&tls, &t->tls, err) : 0;
}

DEFINE_CLEANUP(CpToken, cp_token_free)

int cp_token_new(Loop *l, const CpTokenOptions *o, CpToken **ret, Err *err)
{
    CLEANUP(cp_token_freep) CpToken *t = xnew(CpToken);

    t->loop = l;
    t->o = *o;
    t->retry = RETRY_MIN;
    t->timer = timer_new(l, ask, t);
    int rc = check_url(t, err);
    if (rc == 0)
        rc = seal(t, err);
    if (rc < 0)
        return rc;
    timer_arm(t->timer, 0);
    *ret = TAKE(t);
    return 0;
}

CpToken *cp_token_free(CpToken *t)
{
    if (!t)
        return NULL;
    brief_cancel(t->call);
    timer_free(t->timer);
    secret_free(t->bearer);
    tls_free(t->tls);
    free(t);
    return NULL;
}
