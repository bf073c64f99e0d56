#include "kinds/kind.h"
#include "base/cleanup.h"
#include "table-internal.h"

static const Field fields[] = {
    FIELDS_COMMON,
    [APPLICATION_NAME] =
        FIELD("name", FT_STRING, F_REQUIRED | F_NOT_EMPTY | F_CREATE | F_PATCH | F_UNIQUE_IN_PARENT,
              .max_len = LEN_NAME, .doc = "Name, unique among the applications of a destination."),
    [APPLICATION_SOURCE_REPO_URL] =
        FIELD("source_repo_url", FT_STRING, F_REQUIRED | F_NOT_EMPTY | F_CREATE | F_PATCH, .max_len = 2048,
              .check = check_repo_url, .doc = "Git repository that says what there should be."),
    [APPLICATION_SOURCE_PATH] =
        FIELD("source_path", FT_STRING, F_REQUIRED | F_NOT_EMPTY | F_CREATE | F_PATCH, .max_len = 1024,
              .check = check_source_path, .doc = "Folder of a kustomization in the repository."),
    [APPLICATION_DESTINATION_PROJECT] =
        FIELD("destination_project", FT_STRING, F_REQUIRED | F_NOT_EMPTY | F_CREATE | F_PATCH,
              .max_len = LEN_NAME, .doc = "The project that is kept as the repository says."),
    [APPLICATION_SOURCE_TARGET_REVISION] =
        FIELD("source_target_revision", FT_STRING, F_CREATE | F_PATCH, .max_len = LEN_NAME,
              .check = check_git_revision, .doc = "Branch, tag or commit; main when it says none."),
    [APPLICATION_DESTINATION_AMBIENT_URL] =
        FIELD("destination_ambient_url", FT_STRING, F_CREATE | F_PATCH, .max_len = 2048,
              .check = check_http_url, .doc = "API of another installation; this one when it says none."),
    [APPLICATION_CREDENTIAL_ID] =
        FIELD("credential_id", FT_STRING, F_CREATE | F_PATCH | F_EMPTY_NULL, .max_len = LEN_NAME,
              .doc = "Credential for that other installation."),
    [APPLICATION_SYNC_OPTIONS] =
        FIELD("sync_options", FT_STRING, F_CREATE | F_PATCH, .max_len = 1024, .check = check_sync_options,
              .doc = "Comma list of options: CreateProject=true."),
    [APPLICATION_AUTO_SYNC] =
        FIELD("auto_sync", FT_BOOL, F_CREATE | F_PATCH, .doc = "Sync when the repository moves."),
    [APPLICATION_AUTO_PRUNE] = FIELD("auto_prune", FT_BOOL, F_CREATE | F_PATCH,
                                     .doc = "Delete what the repository does not name any more."),
    [APPLICATION_SELF_HEAL] =
        FIELD("self_heal", FT_BOOL, F_CREATE | F_PATCH, .doc = "Sync when somebody changed what was synced."),
    [APPLICATION_RETRY_LIMIT] = FIELD("retry_limit", FT_INT32, F_CREATE | F_PATCH,
                                      .doc = "How often a failed sync is tried again; 3 when unset."),
    /* The rest but labels and annotations is written by the platform: service/application.c. */
    [APPLICATION_SYNC_STATUS] = FIELD("sync_status", FT_STRING, F_CREATE | F_PATCH, .max_len = 31,
                                      .check = check_sync_status, .doc = "Synced, OutOfSync or Unknown."),
    [APPLICATION_HEALTH_STATUS] =
        FIELD("health_status", FT_STRING, F_CREATE | F_PATCH, .max_len = 31, .check = check_health_status,
              .doc = "Healthy, Degraded, Progressing or Unknown."),
    [APPLICATION_SYNC_REVISION] = FIELD("sync_revision", FT_STRING, F_CREATE | F_PATCH, .max_len = LEN_NAME,
                                        .doc = "Commit of the last good sync."),
    [APPLICATION_OPERATION_PHASE] =
        FIELD("operation_phase", FT_STRING, F_CREATE | F_PATCH, .max_len = 31, .check = check_operation_phase,
              .doc = "Running, Succeeded or Failed: the last sync."),
    [APPLICATION_OPERATION_MESSAGE] =
        FIELD("operation_message", FT_STRING, F_CREATE | F_PATCH, .doc = "The last sync, for people."),
    [APPLICATION_RESOURCE_STATUS] = FIELD("resource_status", FT_JSON_TEXT, F_CREATE | F_PATCH,
                                          .doc = "JSON array of {kind, name, status, health, message}."),
    [APPLICATION_CONDITIONS] = FIELD("conditions", FT_JSON_TEXT, F_CREATE | F_PATCH,
                                     .doc = "JSON array of {type, message, lastTransitionTime}."),
    [APPLICATION_LAST_SYNCED_AT] =
        FIELD("last_synced_at", FT_TIME, F_CREATE | F_PATCH, .doc = "When the last good sync ended."),
    [APPLICATION_LABELS] = FIELD("labels", FT_JSON_TEXT, F_CREATE | F_PATCH | F_STRING_MAP,
                                 .doc = "Labels: JSON object of strings."),
    [APPLICATION_ANNOTATIONS] = FIELD("annotations", FT_JSON_TEXT, F_CREATE | F_PATCH | F_STRING_MAP,
                                      .doc = "Annotations: JSON object of strings."),
};
_Static_assert(ARRAY_LEN(fields) == _APPLICATION_MAX, "every field has a row");

static const short json_order[] = {
    APPLICATION_ANNOTATIONS,
    APPLICATION_AUTO_PRUNE,
    APPLICATION_AUTO_SYNC,
    APPLICATION_CONDITIONS,
    FIELD_CREATED_AT,
    APPLICATION_CREDENTIAL_ID,
    APPLICATION_DESTINATION_AMBIENT_URL,
    APPLICATION_DESTINATION_PROJECT,
    APPLICATION_HEALTH_STATUS,
    JSON_HREF,
    FIELD_ID,
    JSON_KIND,
    APPLICATION_LABELS,
    APPLICATION_LAST_SYNCED_AT,
    APPLICATION_NAME,
    APPLICATION_OPERATION_MESSAGE,
    APPLICATION_OPERATION_PHASE,
    APPLICATION_RESOURCE_STATUS,
    APPLICATION_RETRY_LIMIT,
    APPLICATION_SELF_HEAL,
    APPLICATION_SOURCE_PATH,
    APPLICATION_SOURCE_REPO_URL,
    APPLICATION_SOURCE_TARGET_REVISION,
    APPLICATION_SYNC_OPTIONS,
    APPLICATION_SYNC_REVISION,
    APPLICATION_SYNC_STATUS,
    FIELD_UPDATED_AT,
};

const Kind kind_application = {
    .name = "Application",
    .list_name = "ApplicationList",
    KIND_PATH("applications"),
    .table = "applications",
    .event_source = "Applications",
    .permission = "application",
    .id_rule = KIND_ID_KSUID,
    .fields = fields,
    .n_fields = ARRAY_LEN(fields),
    .name_field = APPLICATION_NAME,
    .project_field = APPLICATION_DESTINATION_PROJECT,
    .parent_field = APPLICATION_DESTINATION_PROJECT,
    .owner_field = -1,
    .default_order = "created_at asc",
    .columns =
        "ID:id:27 NAME:name:24 REPO:source_repo_url:36 PROJECT:destination_project:18 SYNC:sync_status:10 "
        "HEALTH:health_status:10 AGE:created_at:10",
    .json_order = json_order,
    .n_json_order = ARRAY_LEN(json_order),
};
