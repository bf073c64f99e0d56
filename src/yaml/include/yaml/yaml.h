/* YAML 1.2 on libfyaml. YAML becomes JSON values at the door; nothing above this room knows it was YAML. */
#pragma once

#include "json/json.h"

#define YAML_SIZE_MAX (8 * 1024 * 1024)

/* Every document of a stream as a JSON array; an empty document is null. Core schema (YAML 1.2.2, 10.3) and
   merge keys (<<). At most YAML_SIZE_MAX bytes, JSON_DEPTH_MAX levels and, aliases expanded, JSON_VALUES_MAX
   values. Duplicate keys are refused: line 3: mapping key "x" already defined at line 2. */
int yaml_parse_all(Str text, json_t **ret_array, Err *err);
/* The same documents with every scalar but null as the text that was written: 1.10 stays "1.10", yes "yes".
 */
int yaml_parse_all_as_written(Str text, json_t **ret_array, Err *err);
/* The line on which each member of the outer mappings stands, per document: [{"kind": 1, "spec.prompt": 7}].
   For messages about a text that yaml_parse_all has accepted; of another text it tells what it can. */
json_t *yaml_member_lines(Str text);
/* One document, block style, member order kept; strings are quoted where YAML 1.1 or 1.2 would read something
 * else. */
int yaml_write(Buf *b, const json_t *v, Err *err);
