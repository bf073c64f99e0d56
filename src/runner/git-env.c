#include "git.h"

#include "credentials.h"

/* Without credentials of the session git asks nobody: it fails. A developer's own helper on this machine
 * still answers, for hosts that the session has no credential for. */
void git_env(const RunnerConfig *c, ChildEnv *env)
{
    runner_credentials_git_env(c->credentials, env);
    child_env_set(env, "GIT_ASKPASS", "");
}
