/*
 * kubectl's JSONPath templates: text with {expressions} in it. Known are .name ['name'] [*] [2] [-1] [1:3]
 * ..name unions ['a','b'] and [0,2], filters [?(@.phase=="Running")], {range ...}{end} and {"text"}. A member
 * that is JSON in a text, as labels are, is entered like an object. What is not there gives nothing.
 */
#pragma once

#include "json/json.h"

typedef struct JsonPath JsonPath;
int jsonpath_parse(const char *text, JsonPath **ret, Err *err); /* a template; ERR_USAGE says what is wrong */
int jsonpath_parse_field(const char *text, JsonPath **ret,
                         Err *err); /* one path: ".a.b", "a.b" or "{.a.b}" */
JsonPath *jsonpath_free(JsonPath *p);
DEFINE_CLEANUP(JsonPath, jsonpath_free)

void jsonpath_print(const JsonPath *p, const json_t *root, Buf *out); /* values joined by blanks */
json_t *jsonpath_values(const JsonPath *p, const json_t *root); /* of a field: an array; new reference */
