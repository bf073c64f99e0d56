/*
 * The second factor of the token endpoint on Kubernetes: the token of the pod's own ServiceAccount, made for
 * us alone, which the Kubernetes API is asked about each time. While that does not answer, a token that it
 * has vouched for in the last ten minutes still counts. Loop thread only. Contract: control-plane.md 13.5
 * (90e), 19.8.
 */
#pragma once

#include "kube/kube.h"
#include "token-server.h"

typedef struct TokenReviews TokenReviews;

TokenReviews *token_reviews_new(Kube *k, const char *audience); /* both borrowed */
TokenReviews *token_reviews_free(TokenReviews *t);              /* NULL-safe, returns NULL */

/* Is `proof` the token of this account ("system:serviceaccount:NAMESPACE:NAME")? Never NULL. */
TokenReview *token_review_start(TokenReviews *t, const char *account, Str proof, TokenReviewDone done,
                                void *arg);
void token_review_cancel(TokenReview *r); /* NULL-safe; no done after, invalid once it was called */
