#include "kinds/kind.h"
#include "base/cleanup.h"
#include "table-internal.h"

static const Field fields[] = {
    FIELDS_COMMON,
    [PROJECT_SETTINGS_PROJECT_ID] =
        FIELD("project_id", FT_STRING, F_REQUIRED | F_NOT_EMPTY | F_CREATE | F_UNIQUE, .max_len = LEN_NAME,
              .doc = "The project that these settings belong to; one row per project."),
    [PROJECT_SETTINGS_GROUP_ACCESS] =
        FIELD("group_access", FT_JSON_TEXT, F_CREATE | F_PATCH, .doc = "JSON array of {groupName, role}."),
    [PROJECT_SETTINGS_REPOSITORIES] =
        FIELD("repositories", FT_JSON_TEXT, F_CREATE | F_PATCH, .doc = "JSON array of repositories."),
};
_Static_assert(ARRAY_LEN(fields) == _PROJECT_SETTINGS_MAX, "every field has a row");

static const short json_order[] = {
    FIELD_CREATED_AT,
    PROJECT_SETTINGS_GROUP_ACCESS,
    JSON_HREF,
    FIELD_ID,
    JSON_KIND,
    PROJECT_SETTINGS_PROJECT_ID,
    PROJECT_SETTINGS_REPOSITORIES,
    FIELD_UPDATED_AT,
};

const Kind kind_project_settings = {
    .name = "ProjectSettings",
    .list_name = "ProjectSettingsList",
    KIND_PATH("project_settings"),
    .table = "project_settings",
    .event_source = "ProjectSettings",
    .permission = "project_settings",
    .id_rule = KIND_ID_KSUID,
    .fields = fields,
    .n_fields = ARRAY_LEN(fields),
    .name_field = -1,
    .project_field = PROJECT_SETTINGS_PROJECT_ID,
    .parent_field = -1,
    .owner_field = -1,
    .default_order = "created_at asc",
    .columns = "ID:id:27 PROJECT_ID:project_id:27 AGE:created_at:10",
    .json_order = json_order,
    .n_json_order = ARRAY_LEN(json_order),
};
