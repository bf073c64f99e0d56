/*
 * Files of the workspace, by paths that clients name. Every path is resolved by the kernel below the
 * workspace's root (openat2 with RESOLVE_BENEATH and RESOLVE_NO_MAGICLINKS): no "..", absolute or symbolic
 * link leads out of it, whatever the agent does to the tree meanwhile. The runner's own state is not there
 * for clients. A leading slash means the root.
 *
 * Calls block: they are bounded, and the disk is the session's own.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

typedef struct Workspace Workspace;

#define WORKSPACE_LIST_MAX 10000
#define WORKSPACE_FILE_MAX ((uint64_t)256 << 20) /* that is read */

int workspace_new(const char *root, const char *state_dir, Workspace **ret, Err *err);
Workspace *workspace_free(Workspace *w); /* NULL-safe */
const char *workspace_root(const Workspace *w);

/* ERR_INVALID: no path of the workspace, or not of the right kind. ERR_NOT_FOUND. ERR_TOO_LARGE. ERR_IO. */

/* {"items":[{"name","path","isDir","size","modifiedAt"}]} sorted by name; of a file: the one item. */
int workspace_list(const Workspace *w, Str path, Buf *out, Err *err);
/* A regular file, opened for reading. */
int workspace_open(const Workspace *w, Str path, int *ret_fd, uint64_t *ret_size, Err *err);
/* The old content or the new one, never part; makes parent directories. */
int workspace_write(const Workspace *w, Str path, Str content, Err *err);
/* A file, or a symbolic link itself, or an empty directory. */
int workspace_delete(const Workspace *w, Str path, Err *err);
/* The real path of a directory, for programs that are started in it. ERR_INVALID when it is none. */
int workspace_dir(const Workspace *w, Str path, char **ret, Err *err);
/* Removes a directory with all that is in it. */
int workspace_remove_tree(const Workspace *w, Str path, Err *err);
