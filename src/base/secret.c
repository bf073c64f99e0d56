#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"

/*
 * Secrets live in pages of their own, locked and left out of core dumps. A request makes and frees one, so
 * system calls per secret would be felt: slots of a few sizes are cut from chunks and kept in free lists.
 * Both limits on locked memory and old kernels may refuse mlock and madvise; the secret is then still erased
 * on free.
 */
struct Secret {
    size_t len;
    size_t size; /* of this allocation: a slot size, or a mapping of its own */
    char data[]; /* NUL-terminated */
};

#define FILE_MAX ((size_t)64 * 1024)
#define CHUNK ((size_t)64 * 1024)

typedef struct FreeSlot {
    struct FreeSlot *next;
} FreeSlot;

static const size_t slot_sizes[] = {128, 512, 4096};

static struct Slots {
    pthread_mutex_t lock;
    FreeSlot *free[ARRAY_LEN(slot_sizes)];
} slots = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *map_pages(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        abort();
    int refused = mlock(p, size) | madvise(p, size, MADV_DONTDUMP);
    (void)refused;
    return p;
}

/* Index of the smallest slot that holds `size`, or ARRAY_LEN(slot_sizes). */
static size_t kind_of(size_t size)
{
    size_t kind = 0;
    while (kind < ARRAY_LEN(slot_sizes) && slot_sizes[kind] < size)
        kind++;
    return kind;
}

static void add_chunk(size_t kind)
{
    char *chunk = map_pages(CHUNK);
    for (size_t at = 0; at < CHUNK; at += slot_sizes[kind]) {
        FreeSlot *slot = (void *)(chunk + at);
        slot->next = slots.free[kind];
        slots.free[kind] = slot;
    }
}

static Secret *secret_alloc(size_t len)
{
    size_t size = sizeof(Secret) + len + 1;
    size_t kind = kind_of(size);
    Secret *s;
    if (kind == ARRAY_LEN(slot_sizes)) {
        s = map_pages(size);
    } else {
        size = slot_sizes[kind];
        pthread_mutex_lock(&slots.lock);
        if (!slots.free[kind])
            add_chunk(kind);
        s = (void *)slots.free[kind];
        slots.free[kind] = slots.free[kind]->next;
        pthread_mutex_unlock(&slots.lock);
    }
    s->len = len;
    s->size = size;
    s->data[len] = '\0';
    return s;
}

Secret *secret_new(Str value)
{
    Secret *s = secret_alloc(value.len);
    if (value.len)
        memcpy(s->data, value.ptr, value.len);
    return s;
}

Secret *secret_free(Secret *s)
{
    if (!s)
        return NULL;
    size_t size = s->size, kind = kind_of(size);
    secret_erase(s, sizeof(*s) + s->len + 1);
    if (kind == ARRAY_LEN(slot_sizes)) {
        munmap(s, size);
        return NULL;
    }
    FreeSlot *slot = (void *)s;
    pthread_mutex_lock(&slots.lock);
    slot->next = slots.free[kind];
    slots.free[kind] = slot;
    pthread_mutex_unlock(&slots.lock);
    return NULL;
}

/* Up to `size` bytes until end of file; -1 with errno. */
static ssize_t read_up_to(int fd, char *to, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t n = read(fd, to + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

int secret_from_file(const char *path, Secret **ret, Err *err)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return err_set(err, ERR_NOT_FOUND, "secret file %s: no such file", path);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "secret file %s", path);
    if (S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "secret file %s: is a directory", path);
    if (S_ISREG(st.st_mode) && (st.st_mode & S_IWOTH))
        return err_set(err, ERR_INVALID, "secret file %s: others may write it (chmod o-w)", path);
    CLEANUP(secret_freep) Secret *whole = secret_alloc(FILE_MAX + 1);
    ssize_t len = read_up_to(fd, whole->data, FILE_MAX + 1);
    if (len < 0)
        return err_set_errno(err, errno, "secret file %s", path);
    if ((size_t)len > FILE_MAX)
        return err_set(err, ERR_TOO_LARGE, "secret file %s: larger than %zu bytes", path, FILE_MAX);
    Str rest = {whole->data, (size_t)len};
    Str line = str_trim(str_cut(&rest, '\n'));
    if (!line.len)
        return err_set(err, ERR_INVALID, "secret file %s: the first line is empty", path);
    *ret = secret_new(line);
    return 0;
}

Secret *secret_from_env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? secret_new(str_from(value)) : NULL;
}

bool secret_equals(const Secret *s, Str candidate)
{
    if (secret_is_empty(s))
        return false;
    /* Runs as long as the candidate is: the time tells nothing about the secret. */
    volatile unsigned char diff = s->len != candidate.len;
    for (size_t i = 0, at = 0; i < candidate.len; i++, at = at + 1 < s->len ? at + 1 : 0)
        diff = (unsigned char)(diff | (unsigned char)(candidate.ptr[i] ^ s->data[at]));
    return diff == 0;
}

bool secret_is_empty(const Secret *s)
{
    return !s || s->len == 0;
}

Str secret_reveal(const Secret *s)
{
    return s ? (Str){s->data, s->len} : STR_NULL;
}

void secret_erase(void *p, size_t len)
{
    if (p)
        explicit_bzero(p, len);
}
