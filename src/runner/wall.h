/*
 * What the agent may not open although the runner can: the session's token and what else the platform keeps
 * beside the workspace. A second Landlock layer, only around the agent's processes.
 */
#pragma once

#include "config.h"

/* A descriptor for ProcSpec.wall_fd (close it after the start), or -1: nothing to hide, or no Landlock here.
 */
int wall_prepare(const RunnerConfig *c);
