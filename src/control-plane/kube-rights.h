/* Asks Kubernetes, once at the start, whether we may do what we need to, and logs each right that is missing.
 */
#pragma once

#include "config.h"
#include "kube/kube.h"

typedef struct Rights Rights;
Rights *rights_check(Kube *k, const Config *c);
unsigned rights_missing(const Rights *r); /* so far; NULL-safe */
Rights *rights_free(Rights *r);           /* NULL-safe */
