#include "bridge.h"

#include "base/mem.h"
#include "claude-cli.h"

int bridge_choose(const RunnerConfig *c, const BridgeOps **ret, Err *err)
{
    CLEANUP_FREE char *claude = claude_find(c);
    const char *type = c->runner_type;

    if (str_eqz(STR("shell"), type)) {
        *ret = &bridge_shell;
        return 0;
    }
    bool any = !type || !*type;
    bool is_claude = str_eqz(STR("claude"), type) || str_eqz(STR("claude-agent-sdk"), type) ||
                     str_eqz(STR("claude-code"), type);
    if (!any && !is_claude)
        return err_set(err, ERR_NOT_FOUND,
                       "RUNNER_TYPE \"%s\" is not known; this runner has: claude (or claude-agent-sdk, "
                       "claude-code), shell",
                       type);
    if (!claude)
        return err_set(
            err, ERR_NOT_FOUND,
            "no agent found: the Claude Code CLI (\"claude\") is not on PATH and AMBIENT_CLAUDE_PATH does "
            "not name it. Install it (npm install -g @anthropic-ai/claude-code), or set RUNNER_TYPE=shell in "
            "the session's environment_variables to run each message as a command");
    *ret = &bridge_claude;
    return 0;
}

json_t *turn_result_interrupted(void)
{
    json_t *r = json_object();

    json_object_set_new(r, "interrupted", json_true());
    return r;
}
