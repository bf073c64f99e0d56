/* What a caller sees on kind watches. Loop thread: answers from memory, never from the store. */
#include "service-internal.h"

static Str owner_of_project(const Service *s, Str project_id)
{
    return project_id.len ? str_from(map_get(s->owners, project_id)) : STR_NULL;
}

static Str field_or_null(const Obj *o, int field)
{
    return field >= 0 ? obj_str(o, field) : STR_NULL;
}

bool svc_visible(Service *s, const Caller *c, const Kind *k, const Obj *o, Str id, Str project_id, Str owner)
{
    if (authz_is_privileged(c))
        return true;
    if (o) {
        project_id = field_or_null(o, k->project_field);
        owner = field_or_null(o, k->owner_field);
    }
    AuthzScope scope = {
        .project_id = project_id,
        .project_owner = k == &kind_project ? owner : owner_of_project(s, project_id),
        .object_owner = owner.len ? owner : STR_NULL,
    };
    char name[64];
    permission_name(k, VERB_READ, name, sizeof(name));
    return authz_allows(c, name, &scope);
}
