/* The kinds that manifests may hold: one row each. */
#include "manifest.h"

static const ManifestRef agent_refs[] = {{"parent_agent", "parent_agent_id", "agent"}, {0}};
static const ManifestRef session_refs[] = {
    {"agent", "agent_id", "agent"}, {"parent_session", "parent_session_id", "session"}, {0}};
static const ManifestRef schedule_refs[] = {{"agent", "agent_id", "agent"}, {0}};
static const ManifestRef application_refs[] = {{"credential", "credential_id", "credential"}, {0}};
static const ManifestRef binding_refs[] = {
    {"role", "role_id", "role"},
    {"agent", "agent_id", "agent"},
    {"session", "session_id", "session"},
    {"credential", "credential_id", "credential"},
    {0},
};

static const ManifestAlias agent_aliases[] = {
    {"model", "llm_model"}, {"environment", "environment_variables"}, {0}};
static const ManifestAlias session_aliases[] = {
    {"model", "llm_model"}, {"environment", "environment_variables"}, {0}};
static const ManifestAlias schedule_aliases[] = {{"prompt", "session_prompt"}, {0}};
static const ManifestAlias application_aliases[] = {
    {"source.repo_url", "source_repo_url"},
    {"source.target_revision", "source_target_revision"},
    {"source.path", "source_path"},
    {"destination.ambient_url", "destination_ambient_url"},
    {"destination.credential", "credential"},
    {"destination.project", "destination_project"},
    {0},
};
static const ManifestAlias binding_aliases[] = {{"user", "user_id"}, {0}};

static const char *const binding_identity[] = {"role_id",  "scope",      "user_id",       "project_id",
                                               "agent_id", "session_id", "credential_id", NULL};
/* Later versions of the platform write these. */
static const char *const agent_ignored[] = {"providers", "payloads", "sandbox_policy", NULL};

static const ManifestKind kinds[] = {
    {.name = "Project", .noun = "project", .order = 0},
    {.name = "Credential", .noun = "credential", .order = 1},
    {.name = "Agent",
     .noun = "agent",
     .order = 2,
     .inbox = true,
     .refs = agent_refs,
     .aliases = agent_aliases,
     .ignored = agent_ignored},
    {.name = "ScheduledSession",
     .noun = "scheduled-session",
     .order = 3,
     .refs = schedule_refs,
     .aliases = schedule_aliases},
    {.name = "Application",
     .noun = "application",
     .order = 4,
     .refs = application_refs,
     .aliases = application_aliases},
    {.name = "RoleBinding",
     .noun = "role-binding",
     .order = 5,
     .identity = binding_identity,
     .refs = binding_refs,
     .aliases = binding_aliases},
    {.name = "Session", .noun = "session", .order = 6, .refs = session_refs, .aliases = session_aliases},
};

static const char *const foreign[] = {"Policy",  "Provider", "Gateway",
                                      "Cluster", "Ambient",  "ConfigMap" /* values of a kustomization */};

const ManifestKind *manifest_kinds(size_t *ret_n)
{
    *ret_n = ARRAY_LEN(kinds);
    return kinds;
}

const ManifestKind *manifest_kind(Str name)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (str_ieq(name, str_from(kinds[i].name)))
            return &kinds[i];
    }
    return NULL;
}

bool manifest_kind_is_foreign(Str name)
{
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++) {
        if (str_ieq(name, str_from(foreign[i])))
            return true;
    }
    return false;
}

const Kind *manifest_table(const ManifestKind *k)
{
    return kind_by_name(str_from(k->name));
}
