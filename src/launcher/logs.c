#include "launcher-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"

static const char *const all_names[] = {"ambient", "api-server", "control-plane"};

typedef struct Source {
    const char *name;
    char *path;
    int fd;
    off_t at;
} Source;

static void print_prefixed(const Source *s, Str text, bool prefix)
{
    while (text.ptr && text.len) {
        Str line = str_cut(&text, '\n');
        if (prefix)
            printf("%s | ", s->name);
        printf(STR_FMT "\n", STR_ARG(line));
    }
}

/* Whole lines from s->at on; a part of a line stays for the next look. */
static bool print_new(Source *s, bool prefix)
{
    struct stat st;
    if (s->fd >= 0 && stat(s->path, &st) == 0) {
        struct stat mine;
        if (fstat(s->fd, &mine) == 0 && (mine.st_ino != st.st_ino || st.st_size < s->at)) {
            close(s->fd); /* rotated */
            s->fd = -1;
            s->at = 0;
        }
    }
    if (s->fd < 0)
        s->fd = open(s->path, O_RDONLY | O_CLOEXEC);
    char chunk[65536];
    ssize_t n = s->fd < 0 ? 0 : pread(s->fd, chunk, sizeof(chunk), s->at);
    if (n <= 0)
        return false;
    Str text = {chunk, (size_t)n};
    while (text.len && text.ptr[text.len - 1] != '\n' && text.len > 1 && (size_t)n < sizeof(chunk))
        text.len--;
    s->at += (off_t)text.len;
    print_prefixed(s, text, prefix);
    return true;
}

static void seek_tail(Source *s, int64_t lines)
{
    s->fd = open(s->path, O_RDONLY | O_CLOEXEC);
    off_t end = s->fd < 0 ? 0 : lseek(s->fd, 0, SEEK_END);
    off_t window = end < 1024 * 1024 ? end : 1024 * 1024;
    CLEANUP_FREE char *text = xmalloc((size_t)window + 1);
    ssize_t n = s->fd < 0 ? 0 : pread(s->fd, text, (size_t)window, end - window);
    ssize_t at = n;
    for (int64_t seen = 0; at > 0; at--) {
        if (text[at - 1] == '\n' && at != n && ++seen >= lines)
            break;
    }
    s->at = end - window + (n > 0 ? at : 0);
}

int cmd_logs(const Place *p, const Options *o, Err *err)
{
    char *const *names = o->args;
    Source sources[ARRAY_LEN(all_names)] = {0};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(all_names); i++) {
        bool wanted = !names || !names[0];
        for (size_t k = 0; names && names[k]; k++)
            wanted = wanted || strcmp(names[k], all_names[i]) == 0;
        if (wanted)
            sources[n++] = (Source){.name = all_names[i], .path = place_log_file(p, all_names[i]), .fd = -1};
    }
    if (n == 0)
        return err_set(err, ERR_USAGE, "unknown log \"%s\"; there are: ambient, api-server, control-plane",
                       names[0]);
    for (size_t i = 0; i < n; i++)
        seek_tail(&sources[i], o->lines);
    do {
        bool any = false;
        for (size_t i = 0; i < n; i++)
            while (print_new(&sources[i], n > 1))
                any = true;
        fflush(stdout);
        if (o->follow && !any)
            look_again_in(200 * USEC_PER_MSEC);
    } while (o->follow && !ferror(stdout));
    for (size_t i = 0; i < n; i++) {
        free(sources[i].path);
        if (sources[i].fd >= 0)
            close(sources[i].fd);
    }
    return 0;
}
