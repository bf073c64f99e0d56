/* Kinds that stand by themselves: their five routes. */
#include "routes-internal.h"

static const Route rows[] = {
    ALL_OF("/users", "/users/{id}", "user", &kind_user, "User"),
    ALL_OF("/projects", "/projects/{id}", "project", &kind_project, "Project"),
    {.r = {"GET", "/projects/{id}/home", "project:read"},
     .handle = handle_project_home,
     .answer = "ProjectHome",
     .status = 200,
     .doc = "The project's agents: their sessions' phase and unread messages"},
    ALL_OF("/project_settings", "/project_settings/{id}", "project_settings", &kind_project_settings,
           "ProjectSettings"),
};
ROUTE_TABLE(routes_kinds, rows);
