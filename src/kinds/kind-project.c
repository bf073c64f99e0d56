#include "kinds/kind.h"
#include "base/cleanup.h"
#include "table-internal.h"

static const Field fields[] = {
    FIELDS_COMMON,
    [PROJECT_NAME] = FIELD("name", FT_STRING, F_REQUIRED | F_NOT_EMPTY | F_CREATE | F_PATCH | F_UNIQUE,
                           .max_len = LEN_NAME, .check = check_project_name,
                           .doc = "Name and id of the project: a DNS label that starts with a letter."),
    [PROJECT_DESCRIPTION] = FIELD("description", FT_STRING, F_CREATE | F_PATCH, .doc = "Free text."),
    [PROJECT_PROMPT] = FIELD("prompt", FT_STRING, F_CREATE | F_PATCH, .max_len = LEN_PROMPT,
                             .doc = "Workspace context, put into the prompt of every agent start."),
    [PROJECT_LABELS] = FIELD("labels", FT_JSON_TEXT, F_CREATE | F_PATCH | F_STRING_MAP,
                             .doc = "Labels: JSON object of strings."),
    [PROJECT_ANNOTATIONS] = FIELD("annotations", FT_JSON_TEXT, F_CREATE | F_PATCH | F_STRING_MAP,
                                  .doc = "Annotations: JSON object of strings."),
    [PROJECT_STATUS] =
        FIELD("status", FT_STRING, F_CREATE | F_PATCH, .max_len = LEN_NAME, .doc = "Free text."),
    /* Clients of spring 2026 send it; it was dropped. */
    [PROJECT_DISPLAY_NAME] =
        FIELD("display_name", FT_STRING, F_CREATE | F_PATCH | F_IGNORED, .doc = "Accepted and ignored."),
    [PROJECT_OWNER] =
        FIELD("owner", FT_STRING, F_INTERNAL, .max_len = LEN_NAME, .doc = "Username of the creator."),
};
_Static_assert(ARRAY_LEN(fields) == _PROJECT_MAX, "every field has a row");

static const short json_order[] = {
    PROJECT_ANNOTATIONS, FIELD_CREATED_AT, PROJECT_DESCRIPTION, JSON_HREF,      FIELD_ID,         JSON_KIND,
    PROJECT_LABELS,      PROJECT_NAME,     PROJECT_PROMPT,      PROJECT_STATUS, FIELD_UPDATED_AT,
};

const Kind kind_project = {
    .name = "Project",
    .list_name = "ProjectList",
    KIND_PATH("projects"),
    .table = "projects",
    .event_source = "Projects",
    .permission = "project",
    .id_rule = KIND_ID_NAME,
    .fields = fields,
    .n_fields = ARRAY_LEN(fields),
    .name_field = PROJECT_NAME,
    .project_field = FIELD_ID,
    .parent_field = -1,
    .owner_field = PROJECT_OWNER,
    .default_order = "created_at asc",
    .columns = "ID:id:27 NAME:name:30 STATUS:status:10",
    .json_order = json_order,
    .n_json_order = ARRAY_LEN(json_order),
};
