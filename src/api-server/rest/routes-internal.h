/*
 * Rows of the route tables. Each area has a file routes-<area>.c with one table; routes.c lists the tables. A
 * row names the method, the pattern, the permission it needs, its handler, and what the OpenAPI document says
 * of it. {project_id} and {agent_id} are the parents in a path, any other variable is the object itself.
 */
#pragma once

#include "rest-internal.h"

#define ROUTE_TABLE(name, rows) const RouteTable name = {rows, ARRAY_LEN(rows)}

extern const RouteTable routes_meta, routes_kinds, routes_agents, routes_sessions, routes_access,
    routes_runner, routes_credentials, routes_schedules;

#define LIST(p, perm, k, name, ...)                                                                          \
    {                                                                                                        \
        .r = {"GET", p, perm}, .handle = handle_list, .kind = k, .answer = name "List", .status = 200,       \
        __VA_ARGS__                                                                                          \
    }
#define CREATE(p, perm, k, name, ...)                                                                        \
    {                                                                                                        \
        .r = {"POST", p, perm}, .handle = handle_create, .kind = k, .body = name, .answer = name,            \
        .status = 201, __VA_ARGS__                                                                           \
    }
#define GET(p, perm, k, name, ...)                                                                           \
    {                                                                                                        \
        .r = {"GET", p, perm}, .handle = handle_get, .kind = k, .answer = name, .status = 200, __VA_ARGS__   \
    }
#define PATCH(p, perm, k, name, ...)                                                                         \
    {                                                                                                        \
        .r = {"PATCH", p, perm}, .handle = handle_patch, .kind = k, .body = name "PatchRequest",             \
        .answer = name, .status = 200, __VA_ARGS__                                                           \
    }
#define DELETE(p, perm, k, ...)                                                                              \
    {                                                                                                        \
        .r = {"DELETE", p, perm}, .handle = handle_delete, .kind = k, .status = 204, __VA_ARGS__             \
    }
#define ALL_OF(p, item, perm, k, name)                                                                       \
    LIST(p, perm ":read", k, name, .doc = "List " name " objects"),                                          \
        CREATE(p, perm ":create", k, name, .doc = "Create a " name),                                         \
        GET(item, perm ":read", k, name, .doc = "Get a " name),                                              \
        PATCH(item, perm ":update", k, name, .doc = "Change a " name),                                       \
        DELETE(item, perm ":delete", k, .doc = "Delete a " name)
