#include "git.h"

/* Without credentials of the session git asks nobody: it fails. A developer's own helper on this machine
 * still answers. */
void git_env(const RunnerConfig *c, ChildEnv *env)
{
    child_env_set(env, "GIT_ASKPASS", "");
}
