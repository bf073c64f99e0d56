/* Bindings between the files that make them. */
#pragma once

#include "service-internal.h"

/* A role by its id, else by its name. */
int role_find(Tx *tx, Str id_or_name, Obj **ret, Err *err);
/* Scope and ids fit together; completes scope_id. */
int binding_check_form(Obj *b, GrantScope *ret, Err *err);
