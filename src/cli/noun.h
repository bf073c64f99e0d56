/* What the groups of commands named after a kind have in common: credential, scheduled-session, application.
 */
#pragma once

#include "app.h"
#include "resource.h"

typedef enum MemberType { MEMBER_STR, MEMBER_INT, MEMBER_BOOL } MemberType;
typedef struct Member {
    const char *opt, *name;
    MemberType type;
} Member;
/* Adds what was given; "" and false count. Ends with opt NULL. */
void noun_members(const Args *a, const Member *m, json_t *body);
/* The object that the option names, by name or id, as its id in the body; "" clears it. Nothing when not
 * given. */
int noun_reference(App *app, const Args *a, const char *opt, const char *of, const char *member, json_t *body,
                   Err *err);
int noun_need(const Args *a, const char *opt, Err *err); /* "--name is required" */

int noun_list(App *app, const Args *a, const char *noun, const char *query, Err *err);
int noun_get(App *app, const Args *a, const char *noun, Err *err);
/* POST or PATCH; then "noun/<name> created", or the object with -o. */
int noun_create(App *app, const Args *a, const char *noun, const json_t *body, Err *err);
int noun_update(App *app, const Args *a, const char *noun, const json_t *body, Err *err);
int noun_delete(App *app, const Args *a, const char *noun, Err *err); /* needs --confirm */
/* POST to the object's path and `action` ("/sync"); body and ret may be NULL. */
int noun_action(App *app, const Args *a, const char *noun, const char *action, const json_t *body,
                json_t **ret, Err *err);

/* A secret in a body: added, and wiped when the request is over. */
void body_secret(json_t *body, const char *member, const Secret *value);
void body_wipe(json_t *body, const char *member);
