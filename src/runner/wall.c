#include "wall.h"

#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"
#include "sandbox/hide.h"

#define MOUNTED_TOKENS "/var/run/secrets/ambient"
#define MOUNTED_IDENTITY "/var/run/secrets/ambient-identity"

typedef VEC_OF(char *)
Paths;

static void paths_done(Paths *p)
{
    VEC_FOREACH (p, path)
        free(*path);
    vec_free(p);
}

static void add_list(Paths *p, const char *list)
{
    for (Str rest = str_from(list); rest.ptr;) {
        Str one = str_cut(&rest, ':');
        if (one.len)
            vec_push(p, str_dup(one));
    }
}

int wall_prepare(const RunnerConfig *c)
{
    CLEANUP(paths_done) Paths hidden = {0};
    const char *shown[3] = {c->workspace};
    size_t n_shown = 1;
    Err err = {0};
    int fd = -1;
    add_list(&hidden, c->sandbox_hide);
    if (c->bot_token_file) {
        /* Kubernetes moves the file: its directory is what stays. */
        bool mounted = str_starts(str_from(c->bot_token_file), STR(MOUNTED_TOKENS));
        vec_push(&hidden, xstrdup(mounted ? MOUNTED_TOKENS : c->bot_token_file));
    }
    if (c->cp_token_proof && str_starts(str_from(c->cp_token_proof), STR(MOUNTED_IDENTITY)))
        vec_push(&hidden, xstrdup(MOUNTED_IDENTITY));
    if (!hidden.len)
        return -1;
    if (c->tmp && *c->tmp)
        shown[n_shown++] = c->tmp;
    if (getenv("TMPDIR"))
        shown[n_shown++] = getenv("TMPDIR");
    int rc = hide_prepare((const char *const *)hidden.ptr, hidden.len, shown, n_shown, &fd, &err);
    if (rc == -ERR_UNIMPLEMENTED)
        log_debug("the agent can read the session's token: no Landlock here");
    else if (rc < 0)
        log_warn("the session's token cannot be hidden from the agent", F_ERR(&err));
    return fd;
}
