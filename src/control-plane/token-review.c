#include "token-review.h"

#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "crypto/crypto.h"

#define VOUCHED_FOR (600 * USEC_PER_SEC)

/* What was last said to be an account's token. */
typedef struct Voucher {
    uint8_t digest[SHA256_LEN];
    Usec at;
} Voucher;

struct TokenReviews {
    Kube *kube;
    const char *audience;
    const Clock *clock;
    Map *vouchers; /* account -> Voucher, owned */
    Usec tidied_at;
};

struct TokenReview {
    TokenReviews *all;
    KubeCall *call;
    TokenReviewDone done;
    void *arg;
    uint8_t digest[SHA256_LEN];
    char account[];
};

TokenReviews *token_reviews_new(Kube *k, const char *audience)
{
    TokenReviews *t = xnew(TokenReviews);
    t->kube = k;
    t->audience = audience;
    t->clock = loop_clock(kube_loop(k));
    t->vouchers = map_new();
    return t;
}

TokenReviews *token_reviews_free(TokenReviews *t)
{
    if (!t)
        return NULL;
    MAP_FOREACH (t->vouchers, it)
        free(it.value);
    map_free(t->vouchers);
    free(t);
    return NULL;
}

/* ---- what was said before ---- */

static void tidy(TokenReviews *t, Usec now)
{
    if (now - t->tidied_at < VOUCHED_FOR)
        return;
    t->tidied_at = now;
    MAP_FOREACH (t->vouchers, it) {
        if (now - ((const Voucher *)it.value)->at < VOUCHED_FOR)
            continue;
        free(it.value);
        map_remove(t->vouchers, it.key);
    }
}

static void vouch(const TokenReview *r)
{
    Usec now = clock_now(r->all->clock);
    tidy(r->all, now);
    Voucher *v = map_get(r->all->vouchers, str_from(r->account));
    if (!v) {
        v = xnew(Voucher);
        map_put(r->all->vouchers, str_from(r->account), v);
    }
    memcpy(v->digest, r->digest, sizeof(v->digest));
    v->at = now;
}

static const Voucher *voucher_of(const TokenReview *r)
{
    const Voucher *v = map_get(r->all->vouchers, str_from(r->account));
    return v && memcmp(v->digest, r->digest, sizeof(v->digest)) == 0 ? v : NULL;
}

static bool was_vouched_for(const TokenReview *r)
{
    const Voucher *v = voucher_of(r);
    return v && clock_now(r->all->clock) - v->at < VOUCHED_FOR;
}

/* It has expired, or its pod is gone. */
static void take_back(const TokenReview *r)
{
    if (voucher_of(r))
        free(map_remove(r->all->vouchers, str_from(r->account)));
}

/* ---- the question ---- */

static TokenVerdict judge(const TokenReview *r, const char *user, const KubeError *e)
{
    if (e) {
        log_warn("cannot ask Kubernetes whose token this is", F_STR("component", "tokenserver"),
                 F_STR("account", r->account), F_ERR(&e->err));
        return was_vouched_for(r) ? TOKEN_MAY : TOKEN_LATER;
    }
    if (!user) {
        take_back(r);
        return TOKEN_UNPROVEN;
    }
    if (strcmp(user, r->account) != 0)
        return TOKEN_FORBIDDEN;
    vouch(r);
    return TOKEN_MAY;
}

static void on_who(void *arg, const char *user, const KubeError *e)
{
    TokenReview *r = arg;
    TokenVerdict v = judge(r, user, e);
    TokenReviewDone done = r->done;
    void *done_arg = r->arg;
    free(r);
    done(done_arg, v);
}

TokenReview *token_review_start(TokenReviews *t, const char *account, Str proof, TokenReviewDone done,
                                void *arg)
{
    size_t len = strlen(account);
    TokenReview *r = xcalloc(1, sizeof(*r) + len + 1);
    CLEANUP(secret_freep) Secret *token = secret_new(proof);
    memcpy(r->account, account, len);
    r->all = t;
    r->done = done;
    r->arg = arg;
    sha256(proof, r->digest);
    r->call = kube_token_review(t->kube, token, t->audience, on_who, r);
    return r;
}

void token_review_cancel(TokenReview *r)
{
    if (!r)
        return;
    kube_cancel(r->call);
    free(r);
}
