/*
 * The directories of the process runtime. Below the root:
 *
 *     .lock           held by the control plane: two of them on one root would start everything twice
 *     .keys/          key of the token endpoint
 *     .trash/         what is being removed
 *     <session>/      state of a session's run (run-state.h), .token, runner.log
 *     <session>/workspace/   the only place that the runner may write to
 *     <session>/tmp/         its temporary files: fetched credentials, and all where /tmp is not for it
 *
 * The state lies outside the workspace, so that an agent in its sandbox cannot forge it. A session id becomes
 * a path only through here: checked, and resolved beneath the root without following links. Blocking; all but
 * dirs_open() is for worker threads too.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

#define TMP_DIR "tmp"

typedef struct Dirs {
    char *root;
    int root_fd, lock_fd;
    int64_t uid, gid; /* of the runners; -1 = ours */
} Dirs;

/* Makes and locks the root. ERR_CONFLICT: another control plane has it. */
int dirs_open(Dirs *d, const char *root, int64_t uid, int64_t gid, Err *err);
void dirs_close(Dirs *d);

bool dirs_id_ok(Str session_id);                           /* letters, digits, - and _; at most 64 */
char *dirs_session(const Dirs *d, const char *session_id); /* the path; caller frees */
char *dirs_workspace(const Dirs *d, const char *session_id);
/* Makes the session's directory and its workspace. */
int dirs_make(const Dirs *d, const char *session_id, Err *err);
/* Writes a small file of the session that the runner may read. */
int dirs_write(const Dirs *d, const char *session_id, const char *name, Str content, Err *err);
/* Removes files of the session by name; those that are not there are fine. */
void dirs_unlink(const Dirs *d, const char *session_id, const char *name);
/* Moves the session's directory aside at once, then removes it. */
int dirs_remove(const Dirs *d, const char *session_id, Err *err);
void dirs_empty_trash(const Dirs *d);
WallUsec dirs_made_at(const Dirs *d, const char *session_id); /* {0} when there is none */
int dirs_each(const Dirs *d, void (*each)(void *arg, const char *session_id), void *arg, Err *err);
