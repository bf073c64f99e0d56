#pragma once

#include "json/json.h"

/* jansson's iterators take non-const values but change nothing. */
static inline json_t *json_unconst(const json_t *v)
{
    union {
        const json_t *in;
        json_t *out;
    } u = {v};
    return u.out;
}

void json_text_write(Buf *out, const json_t *v);
/* First member that is not a string; NULL when the object is a map of strings. */
const json_t *json_text_first_non_string(const json_t *object);
