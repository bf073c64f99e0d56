#include "auth/roles.h"
#include "base/cleanup.h"

#define G (1u << GRANT_GLOBAL)
#define P (1u << GRANT_PROJECT)
#define A (1u << GRANT_AGENT)
#define S (1u << GRANT_SESSION)
#define C (1u << GRANT_CREDENTIAL)

const BuiltinRole builtin_roles[] = {
    {"platform:admin", "Platform Admin", "Everything, everywhere", 0, false, G | P, "[\"*:*\"]"},
    {"platform:viewer", "Platform Viewer", "Reads projects, agents and sessions", 2, false, G | P,
     "[\"project:read\",\"project:list\",\"session:read\",\"session:list\",\"agent:read\",\"agent:list\"]"},
    {"project:owner", "Project Owner", "Everything in one project, its members too", 1, false, G | P,
     "[\"project:read\",\"project:update\",\"project:delete\",\"agent:*\",\"session:*\","
     "\"session_message:*\",\"project_document:*\",\"blackboard:*\",\"role_binding:*\"]"},
    {"project:editor", "Project Editor", "Makes and changes agents and sessions of a project", 2, false,
     G | P | S,
     "[\"project:read\",\"agent:create\",\"agent:read\",\"agent:update\",\"agent:list\",\"agent:start\","
     "\"session:create\",\"session:read\",\"session:update\",\"session:list\",\"session_message:*\","
     "\"project_document:read\",\"project_document:create\",\"project_document:update\","
     "\"project_document:list\",\"blackboard:read\",\"blackboard:watch\",\"role_binding:delete\"]"},
    {"project:viewer", "Project Viewer", "Reads what is in a project", 3, false, G | P | S,
     "[\"project:read\",\"agent:read\",\"agent:list\",\"session:read\",\"session:list\","
     "\"session_message:read\",\"session_message:list\",\"project_document:read\","
     "\"project_document:list\",\"blackboard:read\"]"},
    {"agent:operator", "Agent Operator", "Changes and starts one agent", 2, false, G | A,
     "[\"agent:read\",\"agent:update\",\"agent:start\",\"agent:list\",\"session:read\",\"session:list\"]"},
    {"agent:editor", "Agent Editor", "Changes one agent", 2, false, G | A,
     "[\"agent:read\",\"agent:update\"]"},
    {"agent:observer", "Agent Observer", "Reads one agent and its sessions", 3, false, G | A | S,
     "[\"agent:read\",\"agent:list\",\"session:read\",\"session:list\",\"blackboard:read\","
     "\"blackboard:watch\"]"},
    {"agent:runner", "Agent Runner", "What a running session itself needs", ROLE_LEVEL_NONE, true, G | A | S,
     "[\"session:read\",\"session_message:*\",\"blackboard:read\",\"blackboard:watch\"]"},
    {"credential:owner", "Credential Owner", "Everything with one credential", 1, false, G | C,
     "[\"credential:create\",\"credential:read\",\"credential:update\",\"credential:delete\","
     "\"credential:list\",\"credential:fetch_token\",\"role_binding:create\",\"role_binding:delete\"]"},
    {"credential:viewer", "Credential Viewer", "Sees a credential, not its token", 2, false, G | C,
     "[\"credential:read\",\"credential:list\"]"},
    {"credential:token-reader", "Credential Token Reader", "Reads a credential's token", 2, true, G | C,
     "[\"credential:fetch_token\"]"},
    {"gitops:admin", "GitOps Admin", "Everything with applications", 1, false, G | P,
     "[\"application:create\",\"application:read\",\"application:update\",\"application:delete\","
     "\"application:list\"]"},
    {"gitops:viewer", "GitOps Viewer", "Reads applications", 3, false, G | P,
     "[\"application:read\",\"application:list\"]"},
};
const size_t n_builtin_roles = ARRAY_LEN(builtin_roles);

const BuiltinRole *builtin_role(Str name)
{
    for (size_t i = 0; i < n_builtin_roles; i++)
        if (str_eqz(name, builtin_roles[i].name))
            return &builtin_roles[i];
    return NULL;
}

static const char *const scopes[_GRANT_SCOPE_MAX] = {
    [GRANT_GLOBAL] = "global",   [GRANT_PROJECT] = "project",       [GRANT_AGENT] = "agent",
    [GRANT_SESSION] = "session", [GRANT_CREDENTIAL] = "credential",
};

const char *grant_scope_name(GrantScope s)
{
    return scopes[s];
}

GrantScope grant_scope_parse(Str s)
{
    for (int i = 0; i < _GRANT_SCOPE_MAX; i++)
        if (str_eqz(s, scopes[i]))
            return (GrantScope)i;
    return _GRANT_SCOPE_INVALID;
}
