/* What the active workflow says of itself: .ambient/ambient.json, .claude/commands and .claude/agents.
 * runner.md 13. */
#pragma once

#include "json/json.h"
#include "repos.h"
#include "workspace.h"

/* Its configuration as an object; empty when there is no workflow, or none that can be read. New reference.
 */
json_t *workflow_config(const Repos *repos, const Workspace *w);
/* {"commands":[...],"agents":[...],"config":{...}} for consoles. New reference. */
json_t *workflow_metadata(const Repos *repos, const Workspace *w);
/* Value of `key` in the front matter of a Markdown text ("---" lines around "key: value" lines); ptr NULL =
 * none. */
Str front_matter(Str text, const char *key);
