#include "ca-bundle.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"

#define PEM_MAX (4 * 1024 * 1024)

int ca_bundle_make(const char *roots, const char *extra, char **ret, Err *err)
{
    CLEANUP_BUF Buf all = BUF_INIT(PEM_MAX);
    *ret = NULL;
    if (!file_exists(extra))
        return 0;
    int rc = file_exists(roots) ? file_read(roots, &all, err) : 0;
    buf_addc(&all, '\n');
    if (rc == 0)
        rc = file_read(extra, &all, err);
    if (rc < 0)
        return err_wrap(err, "roots for TLS");
    int fd = memfd_create("ca-bundle", MFD_CLOEXEC);
    if (fd < 0 || fd_write_all(fd, buf_str(&all)) < 0) {
        rc = err_set_errno(err, errno, "roots for TLS");
        if (fd >= 0)
            close(fd);
        return rc;
    }
    *ret = xasprintf("/proc/self/fd/%d", fd);
    return 0;
}
