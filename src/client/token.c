#include "client/client.h"

#include <sys/stat.h>
#include "base/mem.h"

/* What says that a file is another one than last time. */
typedef struct FileMark {
    struct timespec mtime;
    off_t size;
    ino_t inode;
} FileMark;

struct TokenSource {
    char *path; /* NULL = static */
    FileMark mark;
    Secret *value; /* from the file, or the static one */
    Secret *fallback;
};

TokenSource *token_source_static(Str token)
{
    TokenSource *t = xnew(TokenSource);

    t->value = token.len > 0 ? secret_new(token) : NULL;
    return t;
}

void token_source_set(TokenSource *t, Str token)
{
    secret_free(t->value);
    t->value = token.len > 0 ? secret_new(token) : NULL;
}

TokenSource *token_source_file(const char *path, Str fallback)
{
    TokenSource *t = xnew(TokenSource);

    t->path = xstrdup(path);
    t->fallback = fallback.len > 0 ? secret_new(fallback) : NULL;
    return t;
}

TokenSource *token_source_free(TokenSource *t)
{
    if (!t)
        return NULL;
    secret_free(t->value);
    secret_free(t->fallback);
    free(t->path);
    free(t);
    return NULL;
}

static bool mark_equal(const FileMark *a, const FileMark *b)
{
    return a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec && a->size == b->size &&
           a->inode == b->inode;
}

/* A file that cannot be read or is empty leaves what was there: a token may still be valid while its file is
   being replaced. */
static void file_look(TokenSource *t)
{
    struct stat st;
    CLEANUP(secret_freep) Secret *fresh = NULL;

    if (stat(t->path, &st) < 0)
        return;
    FileMark now = {st.st_mtim, st.st_size, st.st_ino};
    if (t->value && mark_equal(&now, &t->mark))
        return;
    if (secret_from_file(t->path, &fresh, NULL) < 0 || secret_is_empty(fresh))
        return;
    secret_free(t->value);
    t->value = TAKE(fresh);
    t->mark = now;
}

const Secret *token_source_get(TokenSource *t)
{
    if (t->path)
        file_look(t);
    return t->value ? t->value : t->fallback;
}
