/*
 * Who commits when nobody has said: without an identity git refuses to. The platform's stands in the system's
 * configuration, which gives way to everything else: /etc/gitconfig (included behind it), the user's own, and
 * the repository's.
 */
#include "git.h"

#include "base/file.h"
#include "base/mem.h"

#define NAME "Ambient Code Bot"
#define EMAIL "bot@ambient-code.local"

/* Nothing that would end a line or a string of the file. */
static bool is_plain(Str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '#' || c == ';')
            return false;
    }
    return s.len > 0 && s.len < 256;
}

static bool has_content(const char *path, Str text)
{
    CLEANUP_BUF Buf now = BUF_INIT(4096);
    return file_read(path, &now, NULL) == 0 && str_eq(buf_str(&now), text);
}

void git_identity_env(const RunnerConfig *c, Str email, ChildEnv *env)
{
    CLEANUP_FREE char *path = path_join(c->state_dir, "gitconfig");
    CLEANUP_BUF Buf text = BUF_INIT(1024);
    Err err = {0};

    if (child_env_get(env, "GIT_CONFIG_SYSTEM") || child_env_get(env, "GIT_CONFIG_NOSYSTEM"))
        return;
    buf_addz(&text, "[user]\n\tname = " NAME "\n\temail = ");
    buf_adds(&text, is_plain(email) ? email : STR(EMAIL));
    buf_addz(&text, "\n[include]\n\tpath = /etc/gitconfig\n");
    if (has_content(path, buf_str(&text)) || file_write_atomic(path, buf_str(&text), 0600, &err) == 0)
        child_env_set(env, "GIT_CONFIG_SYSTEM", path);
}
