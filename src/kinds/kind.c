#include "kinds/kind.h"
#include "base/cleanup.h"

static const Kind *const all[] = {
    &kind_project,     &kind_project_settings,  &kind_user,
    &kind_agent,       &kind_session,           &kind_inbox_message,
    &kind_role,        &kind_role_binding,      &kind_credential,
    &kind_audit_event, &kind_scheduled_session, &kind_schedule_run,
    &kind_application,
};

const Kind *const *kinds_all(size_t *ret_n)
{
    *ret_n = ARRAY_LEN(all);
    return all;
}

const Kind *kind_by_name(Str name)
{
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (str_eqz(name, all[i]->name))
            return all[i];
    return NULL;
}

const Kind *kind_by_collection(Str collection)
{
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (str_eqz(collection, all[i]->collection))
            return all[i];
    return NULL;
}

const Kind *kind_by_event_source(Str source)
{
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i]->event_source && str_eqz(source, all[i]->event_source))
            return all[i];
    return NULL;
}

int kind_field(const Kind *k, Str json_name)
{
    for (size_t i = 0; i < k->n_fields; i++)
        if (!(k->fields[i].flags & F_INTERNAL) && str_eq(json_name, field_name(&k->fields[i])))
            return (int)i;
    return -1;
}

int kind_field_by_column(const Kind *k, Str column)
{
    for (size_t i = 0; i < k->n_fields; i++)
        if (!(k->fields[i].flags & F_IGNORED) && str_eqz(column, field_column(&k->fields[i])))
            return (int)i;
    return -1;
}
