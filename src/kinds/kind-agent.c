#include "kinds/kind.h"
#include "base/cleanup.h"
#include "table-internal.h"

static const Field fields[] = {
    FIELDS_COMMON,
    /* POST must hold the key, but the path decides. */
    [AGENT_PROJECT_ID] = FIELD("project_id", FT_STRING, F_REQUIRED | F_CREATE, .max_len = LEN_NAME,
                               .doc = "The project of the agent, taken from the path."),
    [AGENT_NAME] =
        FIELD("name", FT_STRING, F_REQUIRED | F_NOT_EMPTY | F_CREATE | F_PATCH | F_UNIQUE_IN_PARENT,
              .max_len = LEN_NAME, .doc = "Name, unique in the project."),
    [AGENT_DISPLAY_NAME] = FIELD("display_name", FT_STRING, F_CREATE | F_PATCH, .max_len = LEN_NAME,
                                 .doc = "Name as people write it."),
    [AGENT_DESCRIPTION] = FIELD("description", FT_STRING, F_CREATE | F_PATCH,
                                .doc = "What the agent is for; its peers read it."),
    [AGENT_REPO_URL] = FIELD("repo_url", FT_STRING, F_CREATE | F_PATCH, .doc = "Repository of its sessions."),
    [AGENT_PROMPT] = FIELD("prompt", FT_STRING, F_CREATE | F_PATCH, .max_len = LEN_PROMPT,
                           .doc = "Standing instructions."),
    [AGENT_LLM_MODEL] =
        FIELD("llm_model", FT_STRING, F_CREATE | F_PATCH | F_ALWAYS | F_DFLT_EMPTY,
              .dflt = "claude-sonnet-4-6", .max_len = LEN_NAME, .doc = "Model of its sessions."),
    [AGENT_LLM_TEMPERATURE] =
        FIELD("llm_temperature", FT_DOUBLE, F_CREATE | F_PATCH | F_ALWAYS | F_UNSET_NEG1, .dflt = "0.7",
              .doc = "Sampling temperature."),
    [AGENT_LLM_MAX_TOKENS] = FIELD("llm_max_tokens", FT_INT32, F_CREATE | F_PATCH | F_ALWAYS | F_UNSET_NEG1,
                                   .dflt = "4000", .doc = "Longest answer of the model, in tokens."),
    [AGENT_LABELS] = FIELD("labels", FT_JSON_TEXT, F_CREATE | F_PATCH | F_STRING_MAP,
                           .doc = "Labels: JSON object of strings."),
    [AGENT_ANNOTATIONS] = FIELD("annotations", FT_JSON_TEXT, F_CREATE | F_PATCH | F_STRING_MAP,
                                .doc = "Annotations: JSON object of strings."),
    [AGENT_PARENT_AGENT_ID] = FIELD("parent_agent_id", FT_STRING, F_CREATE | F_EMPTY_NULL,
                                    .max_len = LEN_NAME, .doc = "The agent that made this one."),
    [AGENT_WORKFLOW_ID] =
        FIELD("workflow_id", FT_STRING, F_CREATE | F_EMPTY_NULL, .doc = "Workflow of its sessions."),
    [AGENT_BOT_ACCOUNT_NAME] = FIELD("bot_account_name", FT_STRING, F_CREATE, .max_len = LEN_NAME,
                                     .doc = "Account that its sessions act as."),
    [AGENT_RESOURCE_OVERRIDES] =
        FIELD("resource_overrides", FT_JSON_TEXT, F_CREATE, .doc = "JSON: resources of its sessions."),
    [AGENT_ENVIRONMENT_VARIABLES] = FIELD("environment_variables", FT_JSON_TEXT, F_CREATE | F_STRING_MAP,
                                          .doc = "JSON object: environment of its sessions."),
    [AGENT_OWNER_USER_ID] = FIELD("owner_user_id", FT_STRING, F_CREATE | F_ALWAYS, .max_len = LEN_NAME,
                                  .doc = "Username of the owner."),
    [AGENT_CURRENT_SESSION_ID] = FIELD("current_session_id", FT_STRING, 0, .max_len = LEN_NAME,
                                       .doc = "The session that start made last, while it is active."),
};
_Static_assert(ARRAY_LEN(fields) == _AGENT_MAX, "every field has a row");

static const short json_order[] = {
    AGENT_ANNOTATIONS,
    AGENT_BOT_ACCOUNT_NAME,
    FIELD_CREATED_AT,
    AGENT_CURRENT_SESSION_ID,
    AGENT_DESCRIPTION,
    AGENT_DISPLAY_NAME,
    AGENT_ENVIRONMENT_VARIABLES,
    JSON_HREF,
    FIELD_ID,
    JSON_KIND,
    AGENT_LABELS,
    AGENT_LLM_MAX_TOKENS,
    AGENT_LLM_MODEL,
    AGENT_LLM_TEMPERATURE,
    AGENT_NAME,
    AGENT_OWNER_USER_ID,
    AGENT_PARENT_AGENT_ID,
    AGENT_PROJECT_ID,
    AGENT_PROMPT,
    AGENT_REPO_URL,
    AGENT_RESOURCE_OVERRIDES,
    FIELD_UPDATED_AT,
    AGENT_WORKFLOW_ID,
};

const Kind kind_agent = {
    .name = "Agent",
    .list_name = "AgentList",
    KIND_PATH("agents"),
    .table = "agents",
    .event_source = "Agents",
    .permission = "agent",
    .id_rule = KIND_ID_KSUID,
    .fields = fields,
    .n_fields = ARRAY_LEN(fields),
    .name_field = AGENT_NAME,
    .project_field = AGENT_PROJECT_ID,
    .parent_field = AGENT_PROJECT_ID,
    .owner_field = AGENT_OWNER_USER_ID,
    .default_order = "created_at asc",
    .columns = "ID:id:27 NAME:name:24 PROJECT:project_id:27 SESSION:current_session_id:27 AGE:created_at:10",
    .json_order = json_order,
    .n_json_order = ARRAY_LEN(json_order),
};
