/* The rows that each file of commands exports (commands.c lists them), and what one file lends to another. */
#pragma once

#include "app.h"

extern const Command commands_describe[], commands_cp[], commands_logs[], commands_plugin[];
extern const Command commands_api[], commands_wait[], commands_label[], commands_edit[], commands_explain[];
extern const Command commands_get[], commands_create[], commands_delete[], commands_start[],
    commands_project[], commands_agent[], commands_session[], commands_inbox[], commands_auth[],
    commands_credential[], commands_schedule[], commands_application[], commands_login[], commands_whoami[],
    commands_config[], commands_completion[], commands_apply[], commands_kustomize[];

int cmd_agent_start(App *app, const Args *a, Err *err);  /* cmd-agent.c; also behind `start` */
int create_manifests(App *app, const Args *a, Err *err); /* cmd-apply.c: create -f, delete -f */
int delete_manifests(App *app, const Args *a, Err *err);
struct Resource;
int watch_resource(App *app, const struct Resource *r, const Args *a, Err *err); /* watch.c */
int application_create(App *app, const Args *a, bool by_id, Err *err); /* cmd-application.c; also `create` */
