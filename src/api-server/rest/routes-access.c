/* Roles, who holds them, and asking what one may do. */
#include "routes-internal.h"

#define BINDINGS_OF(p, k, f)                                                                                 \
    LIST(p "/{id}/role_bindings", "role_binding:read", &kind_role_binding, "RoleBinding", .of = k,           \
         .of_field = f, .doc = "List the RoleBinding objects of one object")

static const Route rows[] = {
    ALL_OF("/roles", "/roles/{id}", "role", &kind_role, "Role"),
    ALL_OF("/role_bindings", "/role_bindings/{id}", "role_binding", &kind_role_binding, "RoleBinding"),
    BINDINGS_OF("/users", &kind_user, ROLE_BINDING_USER_ID),
    BINDINGS_OF("/projects", &kind_project, ROLE_BINDING_HOME),
    BINDINGS_OF("/projects/{project_id}/agents", &kind_agent, ROLE_BINDING_AGENT_ID),
    BINDINGS_OF("/sessions", &kind_session, ROLE_BINDING_SESSION_ID),
    BINDINGS_OF("/credentials", &kind_credential, ROLE_BINDING_CREDENTIAL_ID),
    {.r = {"POST", "/access_reviews", "access_review:create"},
     .handle = handle_access_review,
     .body = "AccessReview",
     .answer = "AccessReviewAnswer",
     .status = 200,
     .doc = "May the caller (administrators: any user) do this there?"},
    {.r = {"GET", "/access_reviews/self", "access_review:create"},
     .handle = handle_access_self,
     .answer = "AccessReviewSelf",
     .status = 200,
     .doc = "Every permission that the caller holds, and where"},
};
ROUTE_TABLE(routes_access, rows);
