#include "kinds/kind.h"
#include "base/cleanup.h"
#include "table-internal.h"

static const Field fields[] = {
    FIELDS_COMMON,
    [CREDENTIAL_NAME] = FIELD("name", FT_STRING, F_REQUIRED | F_CREATE | F_PATCH, .max_len = LEN_NAME,
                              .doc = "Name; need not be unique."),
    [CREDENTIAL_DESCRIPTION] =
        FIELD("description", FT_STRING, F_CREATE | F_PATCH, .doc = "What the credential is for."),
    [CREDENTIAL_PROVIDER] = FIELD(
        "provider", FT_STRING, F_REQUIRED | F_CREATE | F_PATCH, .max_len = LEN_NAME, .check = check_provider,
        .doc = "Who takes the token: github, gitlab, jira, google, vertex, kubeconfig, ..."),
    [CREDENTIAL_TOKEN] =
        FIELD("token", FT_STRING, F_CREATE | F_PATCH | F_WRITE_ONLY,
              .doc = "The secret. Never answered; GET .../token gives it to those who may have it."),
    [CREDENTIAL_URL] = FIELD("url", FT_STRING, F_CREATE | F_PATCH, .doc = "Where the provider is."),
    [CREDENTIAL_EMAIL] = FIELD("email", FT_STRING, F_CREATE | F_PATCH, .doc = "Account at the provider."),
    [CREDENTIAL_LABELS] = FIELD("labels", FT_JSON_TEXT, F_CREATE | F_PATCH | F_STRING_MAP,
                                .doc = "Labels: JSON object of strings."),
    [CREDENTIAL_ANNOTATIONS] = FIELD("annotations", FT_JSON_TEXT, F_CREATE | F_PATCH | F_STRING_MAP,
                                     .doc = "Annotations: JSON object of strings."),
};
_Static_assert(ARRAY_LEN(fields) == _CREDENTIAL_MAX, "every field has a row");

static const short json_order[] = {
    CREDENTIAL_ANNOTATIONS,
    FIELD_CREATED_AT,
    CREDENTIAL_DESCRIPTION,
    CREDENTIAL_EMAIL,
    JSON_HREF,
    FIELD_ID,
    JSON_KIND,
    CREDENTIAL_LABELS,
    CREDENTIAL_NAME,
    CREDENTIAL_PROVIDER,
    FIELD_UPDATED_AT,
    CREDENTIAL_URL,
};

const Kind kind_credential = {
    .name = "Credential",
    .list_name = "CredentialList",
    KIND_PATH("credentials"),
    .table = "credentials",
    .event_source = "Credentials",
    .permission = "credential",
    .id_rule = KIND_ID_KSUID,
    .fields = fields,
    .n_fields = ARRAY_LEN(fields),
    .name_field = CREDENTIAL_NAME,
    .project_field = -1,
    .parent_field = -1,
    .owner_field = -1,
    .default_order = "created_at asc",
    .columns = "ID:id:27 NAME:name:24 PROVIDER:provider:12 DESCRIPTION:description:32 AGE:created_at:10",
    .json_order = json_order,
    .n_json_order = ARRAY_LEN(json_order),
};
