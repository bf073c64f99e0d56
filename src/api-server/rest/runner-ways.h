/* The ways to the runner that routes-runner.c names. */
#pragma once

#include "rest-internal.h"

extern const RunnerWay way_events, way_agui_events, way_run, way_interrupt, way_feedback, way_tasks,
    way_task_stop, way_task_output, way_capabilities, way_mcp_status, way_logs, way_repos_status;
extern const RunnerWay way_workspace, way_workspace_get, way_workspace_put, way_workspace_delete, way_files,
    way_files_get, way_files_put, way_files_delete;
extern const RunnerWay way_git_status, way_git_remote, way_git_branches;
