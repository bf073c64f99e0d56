#include "permissions.h"

#include <stdio.h>
#include "auth/roles.h"
#include "base/buf.h"
#include "rest/rest.h"
#include "rpc/rpc.h"

#define COLUMN 100

/* Written a line at a time, padded so that the text reads without being rendered. */
static void row(const char *what, const char *permission)
{
    (void)printf("| %-*s | %-26s |\n", COLUMN, what, permission);
}

static void head(const char *what)
{
    row(what, "permission");
    row("---", "---");
}

static void rest_rows(void)
{
    head("REST, below /api/ambient/v1");
    for (size_t i = 0; i < rest_route_count(); i++) {
        RestRoute r = rest_route(i);
        CLEANUP_BUF Buf what = BUF_INIT(512);
        (void)buf_addf(&what, "`%s %s`", r.method, r.pattern);
        row(what.data, r.permission ? r.permission : "public");
    }
}

static void rpc_rows(void)
{
    head("gRPC");
    for (size_t i = 0; i < rpc_route_count(); i++) {
        RpcRoute r = rpc_route(i);
        CLEANUP_BUF Buf what = BUF_INIT(512);
        (void)buf_addf(&what, "`%s`", r.path);
        row(what.data, r.permission ? r.permission : "none: refused");
    }
}

static void role_rows(void)
{
    (void)puts("| role | level | bound to | permissions |\n| --- | --- | --- | --- |");
    for (size_t i = 0; i < n_builtin_roles; i++) {
        const BuiltinRole *b = &builtin_roles[i];
        const char *sep = "";
        (void)printf("| %s | ", b->name);
        if (b->level == ROLE_LEVEL_NONE)
            (void)printf("- | ");
        else
            (void)printf("%d%s | ", b->level, b->internal ? ", internal" : "");
        for (int s = 0; s < _GRANT_SCOPE_MAX; s++) {
            if (!(b->scopes >> s & 1))
                continue;
            (void)printf("%s%s", sep, grant_scope_name((GrantScope)s));
            sep = ", ";
        }
        (void)printf(" | `%s` |\n", b->permissions);
    }
}

void permissions_print(void)
{
    (void)puts("# Permissions\n\n"
               "Made by `ambient-api-server permissions` from the server's own tables; "
               "tests/api/test_rbac_table.py\n"
               "compares, and walks every row with every role at every place it may be bound to.\n\n"
               "## What each call needs\n");
    rest_rows();
    (void)puts("");
    rpc_rows();
    (void)puts("\n## What each role holds\n\n"
               "A role gives away roles of a larger level where it is bound. Internal ones are given by\n"
               "administrators and the platform only.\n");
    role_rows();
}
