/* What the kind tables are written with. */
#pragma once

#include "kinds/kind.h"

/* FIELD("name", FT_STRING, flags, .doc = "...") */
#define FIELD(name_, type_, flags_, ...)                                                                     \
    {                                                                                                        \
        .json = name_, .key = {"\"" name_ "\":", sizeof(name_) + 2}, .type = type_, .flags = flags_,         \
        __VA_ARGS__                                                                                          \
    }

#define FIELDS_COMMON                                                                                        \
    [FIELD_ID] = FIELD("id", FT_STRING, 0, .doc = "Identifier, made by the server."),                        \
    [FIELD_CREATED_AT] = FIELD("created_at", FT_TIME, 0, .doc = "When the object was created."),             \
    [FIELD_UPDATED_AT] = FIELD("updated_at", FT_TIME, 0, .doc = "When the object last changed.")

#define API_PREFIX "/api/ambient/v1/"
#define KIND_PATH(collection_)                                                                               \
    .collection = collection_, .href = {API_PREFIX collection_ "/", sizeof(API_PREFIX collection_)}

#define LEN_NAME 255
#define LEN_PROMPT ((size_t)1 << 20)

/* Checks named in tables. ERR_INVALID. */
int check_project_name(Str s, Err *err);
int check_phase(Str s, Err *err);
int check_dns_label(Str s, Err *err);
int check_role_name(Str s, Err *err);
int check_permissions(Str s, Err *err); /* a JSON array of "resource:action" */
int check_provider(Str s, Err *err);
/* checks-gitops.c */
int check_cron(Str s, Err *err);
int check_runner_type(Str s, Err *err);
int check_overlap_policy(Str s, Err *err);
int check_catch_up(Str s, Err *err);
int check_repo_url(Str s, Err *err);
int check_git_revision(Str s, Err *err);
int check_source_path(Str s, Err *err);
int check_http_url(Str s, Err *err);
int check_sync_options(Str s, Err *err);
int check_sync_status(Str s, Err *err);
int check_health_status(Str s, Err *err);
int check_operation_phase(Str s, Err *err);
