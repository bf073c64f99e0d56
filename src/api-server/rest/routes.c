/* Every REST route: the tables of all areas as one. */
#include "routes-internal.h"

const RouteTable *const route_tables[] = {
    &routes_meta,     &routes_access, &routes_kinds,       &routes_agents,
    &routes_sessions, &routes_runner, &routes_credentials, &routes_schedules,
};
const size_t n_route_tables = ARRAY_LEN(route_tables);

size_t rest_route_count(void)
{
    size_t n = 0;
    for (size_t i = 0; i < n_route_tables; i++)
        n += route_tables[i]->n;
    return n;
}

size_t route_index(const Route *rt)
{
    size_t i = 0;
    FOREACH_ROUTE (other) {
        if (other == rt)
            break;
        i++;
    }
    return i;
}

RestRoute rest_route(size_t i)
{
    FOREACH_ROUTE (rt)
        if (i-- == 0)
            return rt->r;
    return (RestRoute){0};
}
