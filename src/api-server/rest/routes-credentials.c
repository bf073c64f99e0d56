/* Credentials and the audit of who read their tokens. */
#include "routes-internal.h"

#define IN_PROJECT "/projects/{project_id}/credentials"
#define TOKEN(p)                                                                                             \
    {                                                                                                        \
        .r = {"GET", p "/{id}/token", "credential:fetch_token"}, .handle = handle_credential_token,          \
        .kind = &kind_credential, .answer = "CredentialToken", .status = 200,                                \
        .doc = "The secret of a credential; every read leaves an audit event"                                \
    }

static const Route rows[] = {
    ALL_OF("/credentials", "/credentials/{id}", "credential", &kind_credential, "Credential"),
    TOKEN("/credentials"),
    ALL_OF(IN_PROJECT, IN_PROJECT "/{id}", "credential", &kind_credential, "Credential"),
    TOKEN(IN_PROJECT),
    {.r = {"POST", "/sessions/{id}/token", "session:token"},
     .handle = handle_session_token,
     .answer = "SessionToken",
     .status = 201,
     .doc = "A token for the session's runner: good for that session's run, renewed with itself"},
    LIST("/audit_events", "audit_event:read", &kind_audit_event, "AuditEvent",
         .doc = "List AuditEvent objects"),
    GET("/audit_events/{id}", "audit_event:read", &kind_audit_event, "AuditEvent",
        .doc = "Get an AuditEvent"),
};
ROUTE_TABLE(routes_credentials, rows);
