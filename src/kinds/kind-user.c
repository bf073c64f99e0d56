#include "kinds/kind.h"
#include "base/cleanup.h"
#include "table-internal.h"

static const Field fields[] = {
    FIELDS_COMMON,
    [USER_USERNAME] = FIELD("username", FT_STRING, F_REQUIRED | F_NOT_EMPTY | F_CREATE | F_PATCH | F_UNIQUE,
                            .max_len = LEN_NAME, .doc = "Name in tokens and in every *_user_id."),
    [USER_NAME] = FIELD("name", FT_STRING, F_REQUIRED | F_NOT_EMPTY | F_CREATE | F_PATCH, .max_len = LEN_NAME,
                        .doc = "Name as people write it."),
    [USER_EMAIL] =
        FIELD("email", FT_STRING, F_CREATE | F_PATCH, .max_len = LEN_NAME, .doc = "E-mail address."),
    [USER_ISSUER] = FIELD("issuer", FT_STRING, F_INTERNAL, .doc = "Issuer of the user's tokens."),
    [USER_SUBJECT] = FIELD("subject", FT_STRING, F_INTERNAL, .doc = "The user's name for that issuer."),
};
_Static_assert(ARRAY_LEN(fields) == _USER_MAX, "every field has a row");

static const short json_order[] = {
    FIELD_CREATED_AT, USER_EMAIL, JSON_HREF, FIELD_ID, JSON_KIND, USER_NAME, FIELD_UPDATED_AT, USER_USERNAME,
};

const Kind kind_user = {
    .name = "User",
    .list_name = "UserList",
    KIND_PATH("users"),
    .table = "users",
    .event_source = "Users",
    .permission = "user",
    .id_rule = KIND_ID_KSUID,
    .fields = fields,
    .n_fields = ARRAY_LEN(fields),
    .name_field = USER_USERNAME,
    .project_field = -1,
    .parent_field = -1,
    .owner_field = USER_USERNAME,
    .default_order = "created_at asc",
    .columns = "ID:id:27 USERNAME:username:30 NAME:name:30 EMAIL:email:40",
    .json_order = json_order,
    .n_json_order = ARRAY_LEN(json_order),
};
