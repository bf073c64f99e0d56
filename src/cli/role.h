/* Roles and bindings by the names that people use. */
#pragma once

#include "app.h"

/* An id of a name or id; an id is not looked up, the server says when there is none. Caller frees. */
int object_id(App *app, const char *noun, const char *name, char **ret, Err *err);
int role_id(App *app, const char *name, char **ret, Err *err); /* of a role's name or id; caller frees */
/* The members of a role binding from --role-id, --scope, --user-id and the ids or names of what it is about.
 */
int binding_body(App *app, const Args *a, json_t *body, Err *err);
/* Names beside the ids of a list of bindings: members "role" and "target", for tables. */
int binding_names(App *app, json_t *list, Err *err);
