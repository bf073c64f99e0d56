/* Small files, read and written whole. Everything is O_CLOEXEC. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include "base/buf.h"

static inline void closep(int *fd)
{
    extern int close(int);
    if (*fd >= 0)
        close(*fd);
}
#define CLEANUP_FD CLEANUP(closep)
/* Moves the descriptor out of a variable that closes it. */
static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* Appends the file to `out`; its maximum bounds the size. ERR_NOT_FOUND when there is no such file. */
int file_read(const char *path, Buf *out, Err *err);
/* All of it, whatever interrupts or takes a part only: 0, or -1 and errno. */
int fd_write_all(int fd, Str content);
/* Temp file in the same directory, fsync, rename, fsync of the directory: the old or the new content, never
 * part. */
int file_write_atomic(const char *path, Str content, mode_t mode, Err *err);
int dir_make(const char *path, mode_t mode, Err *err); /* with parents; existing is fine */
bool file_exists(const char *path);
char *path_join(const char *dir, const char *name); /* caller frees */
/* Takes an exclusive flock on path (created 0600); -ERR_CONFLICT at once when another process holds it. */
int file_lock(const char *path, int *ret_fd, Err *err);
/* The same, waiting until the other process lets go: for locks that are held for the time of a few writes. */
int file_lock_wait(const char *path, int *ret_fd, Err *err);
/* Removes a tree without following symbolic links; `root` must be absolute and not "/". */
int dir_remove_tree(const char *root, Err *err);
