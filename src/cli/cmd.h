/* The functions behind the rows of the command table. */
#pragma once

#include "app.h"

int cmd_get(App *app, const Args *a, Err *err);
int cmd_describe(App *app, const Args *a, Err *err);
int cmd_create(App *app, const Args *a, Err *err);
int cmd_delete(App *app, const Args *a, Err *err);
int cmd_start(App *app, const Args *a, Err *err);
int cmd_stop(App *app, const Args *a, Err *err);
int watch_sessions(App *app, const Args *a, Err *err);

int cmd_project(App *app, const Args *a, Err *err);
int cmd_project_current(App *app, const Args *a, Err *err);
int cmd_project_list(App *app, const Args *a, Err *err);
int cmd_project_update(App *app, const Args *a, Err *err);

int cmd_agent_list(App *app, const Args *a, Err *err);
int cmd_agent_get(App *app, const Args *a, Err *err);
int cmd_agent_create(App *app, const Args *a, Err *err);
int cmd_agent_update(App *app, const Args *a, Err *err);
int cmd_agent_delete(App *app, const Args *a, Err *err);
int cmd_agent_start(App *app, const Args *a, Err *err);
int cmd_agent_stop(App *app, const Args *a, Err *err);
int cmd_agent_preview(App *app, const Args *a, Err *err);
int cmd_agent_sessions(App *app, const Args *a, Err *err);

int cmd_session_messages(App *app, const Args *a, Err *err);
int cmd_session_send(App *app, const Args *a, Err *err);
int cmd_session_events(App *app, const Args *a, Err *err);

int cmd_inbox_list(App *app, const Args *a, Err *err);
int cmd_inbox_send(App *app, const Args *a, Err *err);
int cmd_inbox_mark_read(App *app, const Args *a, Err *err);
int cmd_inbox_delete(App *app, const Args *a, Err *err);

int cmd_login(App *app, const Args *a, Err *err);
int cmd_logout(App *app, const Args *a, Err *err);
int cmd_whoami(App *app, const Args *a, Err *err);
int cmd_version(App *app, const Args *a, Err *err);
int cmd_config_get(App *app, const Args *a, Err *err);
int cmd_config_set(App *app, const Args *a, Err *err);
int cmd_config_unset(App *app, const Args *a, Err *err);
int cmd_config_view(App *app, const Args *a, Err *err);
int cmd_config_contexts(App *app, const Args *a, Err *err);
int cmd_config_use(App *app, const Args *a, Err *err);
int cmd_config_rename(App *app, const Args *a, Err *err);
int cmd_config_delete(App *app, const Args *a, Err *err);
int cmd_completion(App *app, const Args *a, Err *err);
