/* What the sessions of one server share: limits, the method table, built-in services. */
#include "server-internal.h"

#include <assert.h>

const char srv_builtin[] = "";

static Str service_of(Str path)
{
    size_t end = path.len;
    while (end > 0 && path.ptr[end - 1] != '/')
        end--;
    return end > 1 ? str_slice(path, 1, end - 1) : STR_NULL;
}

void srv_host_add(SrvHost *host, const GrpcMethod *methods)
{
    union { /* the map keeps pointers to non-const */
        const GrpcMethod *method;
        void *value;
    } u;
    for (u.method = methods; u.method->path; u.method++) {
        Str path = str_from(u.method->path);
        assert(str_starts(path, STR("/")) && service_of(path).len > 0 && u.method->on_message);
        map_put(host->methods, path, u.value);
        map_put(host->services, service_of(path), u.value);
    }
}

void srv_host_init(SrvHost *host, const GrpcLimits *limits, const GrpcMethod *methods,
                   const GrpcServerOps *ops, void *arg, const Clock *clock)
{
    *host = (SrvHost){.limits = limits ? *limits : grpc_limits_default, .clock = clock, .arg = arg};
    if (ops)
        host->ops = *ops;
    host->methods = map_new();
    host->services = map_new();
    srv_host_add(host, methods);
}

void srv_host_done(SrvHost *host)
{
    srv_health_free(host->health);
    srv_reflection_free(host->reflection);
    map_free(host->methods);
    map_free(host->services);
}
