/* Every method once: path, handler, kind and messages. The CRUD of all kinds is one set of handlers. */
#include "rpc-internal.h"

#define DESC(name) &ambient__v1__##name##__descriptor
#define ROW(service, method, kind_, handler, k, perm, req, resp)                                             \
    {                                                                                                        \
        .path = "/ambient.v1." service "/" method, .kind = kind_, .on_message = handler,                     \
        .data = &(const MethodInfo){k, perm, DESC(req), DESC(resp)},                                         \
    }
#define UNARY(service, method, handler, k, perm, req, resp)                                                  \
    ROW(service, method, GRPC_UNARY, handler, k, perm, req, resp)
#define STREAM(service, method, handler, k, perm, req, resp)                                                 \
    ROW(service, method, GRPC_SERVER_STREAM, handler, k, perm, req, resp)

/* Name and plural in paths, name and plural in the generated symbols. */
#define CRUD(service, Name, Names, k, perm, name, names)                                                     \
    UNARY(service, "Get" Name, rpc_get, k, perm ":read", get_##name##_request, name),                        \
        UNARY(service, "Create" Name, rpc_create, k, perm ":create", create_##name##_request, name),         \
        UNARY(service, "Update" Name, rpc_update, k, perm ":update", update_##name##_request, name),         \
        UNARY(service, "Delete" Name, rpc_delete, k, perm ":delete", delete_##name##_request,                \
              delete_##name##_response),                                                                     \
        UNARY(service, "List" Names, rpc_list, k, perm ":read", list_##names##_request,                      \
              list_##names##_response),                                                                      \
        STREAM(service, "Watch" Names, rpc_watch, k, perm ":read", watch_##names##_request,                  \
               name##_watch_event)

const GrpcMethod rpc_methods[] = {
    CRUD("SessionService", "Session", "Sessions", &kind_session, "session", session, sessions),
    UNARY("SessionService", "UpdateSessionStatus", rpc_update_status, &kind_session, "session:status",
          update_session_status_request, session),
    UNARY("SessionService", "PushSessionMessage", rpc_push, NULL, "session_message:create",
          push_session_message_request, session_message),
    STREAM("SessionService", "WatchSessionMessages", rpc_watch_messages, NULL, "session_message:read",
           watch_session_messages_request, session_message),
    CRUD("ProjectService", "Project", "Projects", &kind_project, "project", project, projects),
    CRUD("ProjectSettingsService", "ProjectSettings", "ProjectSettings", &kind_project_settings,
         "project_settings", project_settings, project_settings),
    CRUD("UserService", "User", "Users", &kind_user, "user", user, users),
    STREAM("InboxService", "WatchInboxMessages", rpc_watch_inbox, &kind_inbox_message, "agent:watch",
           watch_inbox_messages_request, inbox_message),
    {0},
};
const size_t rpc_n_methods = ARRAY_LEN(rpc_methods) - 1;

size_t rpc_route_count(void)
{
    return rpc_n_methods;
}

RpcRoute rpc_route(size_t i)
{
    const MethodInfo *m = rpc_methods[i].data;
    return (RpcRoute){rpc_methods[i].path, m->permission};
}
