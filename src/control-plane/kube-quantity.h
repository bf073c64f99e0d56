/* Kubernetes quantities: "500m", "1.5", "4Gi", "1e3". */
#pragma once

#include <stdint.h>
#include "base/str.h"

/* In thousandths, rounded up; 0 or -1. Negative and absurd ones are refused. */
int quantity_parse(Str s, int64_t *ret);
