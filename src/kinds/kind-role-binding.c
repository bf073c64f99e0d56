#include "kinds/kind.h"
#include "base/cleanup.h"
#include "table-internal.h"

/* Which of the ids count, and that they fit the scope, is the service's to check. */
#define FK(name, doc_)                                                                                       \
    FIELD(name, FT_STRING, F_CREATE | F_PATCH | F_SHOW_NULL, .max_len = LEN_NAME, .doc = doc_)

static const Field fields[] = {
    FIELDS_COMMON,
    [ROLE_BINDING_ROLE_ID] = FIELD("role_id", FT_STRING, F_REQUIRED | F_NOT_EMPTY | F_CREATE | F_PATCH,
                                   .max_len = LEN_NAME, .doc = "The role: its id; its name is taken too."),
    [ROLE_BINDING_SCOPE] = FIELD("scope", FT_STRING, F_REQUIRED | F_CREATE | F_PATCH, .max_len = LEN_NAME,
                                 .doc = "global, project, agent, session or credential."),
    /* Clients of spring 2026 knew one id for all scopes. */
    [ROLE_BINDING_SCOPE_ID] = FIELD("scope_id", FT_STRING, F_CREATE, .max_len = LEN_NAME,
                                    .doc = "The id that the scope names, once more."),
    [ROLE_BINDING_USER_ID] = FK("user_id", "Username of who holds the role."),
    [ROLE_BINDING_PROJECT_ID] = FK("project_id", "The project that the role is held in."),
    [ROLE_BINDING_AGENT_ID] = FK("agent_id", "The agent that the role is held on."),
    [ROLE_BINDING_SESSION_ID] = FK("session_id", "The session that the role is held on."),
    [ROLE_BINDING_CREDENTIAL_ID] = FK("credential_id", "The credential that the role is held on."),
    [ROLE_BINDING_HOME] = FIELD("home_project_id", FT_STRING, F_INTERNAL, .max_len = LEN_NAME,
                                .doc = "The project that the binding is in."),
};
_Static_assert(ARRAY_LEN(fields) == _ROLE_BINDING_MAX, "every field has a row");

static const short json_order[] = {
    ROLE_BINDING_AGENT_ID,
    FIELD_CREATED_AT,
    ROLE_BINDING_CREDENTIAL_ID,
    JSON_HREF,
    FIELD_ID,
    JSON_KIND,
    ROLE_BINDING_PROJECT_ID,
    ROLE_BINDING_ROLE_ID,
    ROLE_BINDING_SCOPE,
    ROLE_BINDING_SCOPE_ID,
    ROLE_BINDING_SESSION_ID,
    FIELD_UPDATED_AT,
    ROLE_BINDING_USER_ID,
};

const Kind kind_role_binding = {
    .name = "RoleBinding",
    .list_name = "RoleBindingList",
    KIND_PATH("role_bindings"),
    .table = "role_bindings",
    .event_source = "RoleBindings",
    .permission = "role_binding",
    .id_rule = KIND_ID_KSUID,
    .fields = fields,
    .n_fields = ARRAY_LEN(fields),
    .name_field = -1,
    .project_field = ROLE_BINDING_PROJECT_ID,
    .parent_field = -1,
    .owner_field = ROLE_BINDING_USER_ID,
    .default_order = "created_at asc",
    .columns = "ID:id:27 USER:user_id:27 ROLE:role|role_id:30 SCOPE:scope:10 "
               "TARGET:target|project_id|agent_id|session_id|credential_id:27",
    .json_order = json_order,
    .n_json_order = ARRAY_LEN(json_order),
};
