#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "json/json.h"

#define JOURNAL_MAX ((size_t)256 << 20)

static bool read_line(Str line, JournalFn fn, void *arg)
{
    CLEANUP_JSON json_t *o = NULL;

    if (json_parse(line, &o, NULL) < 0)
        return false;
    JournalEntry e = {json_get_strv(o, "type"), json_get_strv(o, "payload"), json_get_strv(o, "turn"),
                      json_get_strv(o, "request_id")};
    if (!e.type.ptr || !e.payload.ptr || !e.request_id.ptr)
        return false;
    fn(arg, &e);
    return true;
}

static void read_all(Str rest, JournalFn fn, void *arg)
{
    while (rest.ptr) {
        Str line = str_cut(&rest, '\n');
        /* What stands behind the last newline was being written when the process died. */
        if (rest.ptr && !read_line(line, fn, arg))
            log_warn("a line of the journal is damaged, its record is lost", F_UINT("bytes", line.len));
    }
}

int journal_open(Journal *j, const char *path, JournalFn fn, void *arg, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(JOURNAL_MAX);
    int r = file_read(path, &text, err);

    *j = (Journal){.fd = -1};
    if (r < 0 && r != -ERR_NOT_FOUND)
        return err_wrap(err, "journal");
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, "journal %s", path);
    read_all(buf_str(&text), fn, arg);
    Str all = buf_str(&text);
    while (all.len > 0 && all.ptr[all.len - 1] != '\n')
        all.len--;
    if (all.len < text.len && ftruncate(fd, (off_t)all.len) < 0)
        return err_set_errno(err, errno, "journal %s", path);
    j->path = xstrdup(path);
    j->bytes = all.len;
    j->fd = fd;
    fd = -1;
    return 0;
}

void journal_close(Journal *j)
{
    if (!j->path)
        return;
    close(j->fd);
    free(j->path);
    *j = (Journal){.fd = -1};
}

void journal_add(Journal *j, const JournalEntry *e)
{
    CLEANUP_BUF Buf line = BUF_INIT(JOURNAL_MAX);
    bool first = true;

    if (!j->path || j->broken)
        return;
    buf_addc(&line, '{');
    json_key(&line, &first, "type");
    json_write_str_plain(&line, e->type);
    json_key(&line, &first, "turn");
    json_write_str_plain(&line, e->turn);
    json_key(&line, &first, "request_id");
    json_write_str_plain(&line, e->request_id);
    json_key(&line, &first, "payload");
    json_write_str_plain(&line, e->payload);
    buf_addz(&line, "}\n");
    j->bytes += line.len;
    if (!line.failed && fd_write_all(j->fd, buf_str(&line)) == 0)
        return;
    Err err = {0};
    err_set_errno(&err, errno, "%s", j->path);
    log_warn("the journal cannot be written; records that are not pushed yet would be lost with this process",
             F_ERR(&err));
    j->broken = true;
}

void journal_empty(Journal *j)
{
    if (!j->path)
        return;
    j->bytes = 0;
    if (ftruncate(j->fd, 0) == 0)
        j->broken = false;
}
