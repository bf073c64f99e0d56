/* What a plain scalar means in the core schema of YAML 1.2.2, section 10.3.2. */
#pragma once

#include "yaml/yaml.h"

typedef enum ScalarType { SCALAR_STR, SCALAR_NULL, SCALAR_BOOL, SCALAR_INT, SCALAR_FLOAT } ScalarType;

ScalarType scalar_type(Str plain);
/* The value of a plain scalar of that type; NULL when JSON cannot hold it (.inf, .nan, too large). */
json_t *scalar_value(Str plain, ScalarType type);
/* Whether any reader, YAML 1.1 ones as well, takes this plain scalar for a string. */
bool scalar_is_string_everywhere(Str plain);
