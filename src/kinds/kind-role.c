#include "kinds/kind.h"
#include "base/cleanup.h"
#include "table-internal.h"

static const Field fields[] = {
    FIELDS_COMMON,
    [ROLE_NAME] =
        FIELD("name", FT_STRING, F_REQUIRED | F_NOT_EMPTY | F_CREATE | F_UNIQUE, .max_len = LEN_NAME,
              .check = check_role_name, .doc = "Name that bindings and people use, e.g. project:editor."),
    [ROLE_DISPLAY_NAME] = FIELD("display_name", FT_STRING, F_CREATE | F_PATCH, .max_len = LEN_NAME,
                                .doc = "Name as people write it."),
    [ROLE_DESCRIPTION] = FIELD("description", FT_STRING, F_CREATE | F_PATCH, .doc = "What the role is for."),
    [ROLE_PERMISSIONS] =
        FIELD("permissions", FT_JSON_TEXT, F_CREATE | F_PATCH | F_NOT_NULL, .check = check_permissions,
              .doc = "JSON array of resource:action; * stands for any of either."),
    [ROLE_BUILT_IN] = FIELD("built_in", FT_BOOL, F_ALWAYS, .dflt = "false",
                            .doc = "Made by the server; cannot be changed or deleted."),
};
_Static_assert(ARRAY_LEN(fields) == _ROLE_MAX, "every field has a row");

static const short json_order[] = {
    ROLE_BUILT_IN, FIELD_CREATED_AT, ROLE_DESCRIPTION, ROLE_DISPLAY_NAME, JSON_HREF,
    FIELD_ID,      JSON_KIND,        ROLE_NAME,        ROLE_PERMISSIONS,  FIELD_UPDATED_AT,
};

const Kind kind_role = {
    .name = "Role",
    .list_name = "RoleList",
    KIND_PATH("roles"),
    .table = "roles",
    .event_source = "Roles",
    .permission = "role",
    .id_rule = KIND_ID_KSUID,
    .fields = fields,
    .n_fields = ARRAY_LEN(fields),
    .name_field = ROLE_NAME,
    .project_field = -1,
    .parent_field = -1,
    .owner_field = -1,
    .default_order = "created_at asc",
    .columns = "ID:id:27 NAME:name:30 DISPLAY_NAME:display_name:30 BUILT-IN:built_in:9",
    .json_order = json_order,
    .n_json_order = ARRAY_LEN(json_order),
};
