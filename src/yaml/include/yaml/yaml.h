/* YAML 1.2 on libfyaml. YAML becomes JSON values at the door; nothing above this room knows it was YAML. */
#pragma once

#include "json/json.h"

/* Every document of a stream as a JSON array. Size, depth (JSON_DEPTH_MAX) and alias expansion are limited. */
int yaml_parse_all(Str text, json_t **ret_array, Err *err);
/* One document, block style, member order kept; strings are quoted where YAML would read something else. */
int yaml_write(Buf *b, const json_t *v, Err *err);
