#include "secret-input.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"

#define SECRET_MAX ((size_t)256 * 1024)

static void erase_buf(Buf *b)
{
    if (b->data)
        secret_erase(b->data, b->len);
    buf_done(b);
}
#define CLEANUP_SECRET_BUF CLEANUP(erase_buf)

static int read_input(FILE *in, bool whole, Buf *out, Err *err)
{
    int c;
    while ((c = fgetc(in)) != EOF && (whole || c != '\n'))
        buf_addc(out, (char)c);
    return buf_check(out, err);
}

/* Until a line was typed. Whoever interrupts must not be left with a terminal that shows nothing: it is put
   right first, and the signal comes then. */
static void wait_for_line(const struct termios *old, const sigset_t *ends)
{
    CLEANUP_FD int fd = signalfd(-1, ends, SFD_CLOEXEC);
    struct pollfd p[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    while (fd >= 0 && poll(p, 2, -1) < 0 && errno == EINTR)
        ;
    if (p[1].revents) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, old);
        fputc('\n', stderr);
    }
}

/* On a terminal one line is read, without showing it. */
static int read_stdin(const SecretInput *in, Buf *out, Err *err)
{
    struct termios old, quiet;
    bool tty = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &old) == 0;
    if (!tty)
        return read_input(stdin, in->whole, out, err);
    sigset_t ends, before;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    sigprocmask(SIG_BLOCK, &ends, &before);
    quiet = old;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet); /* first: what answers the prompt is not flushed away */
    fprintf(stderr, "%s (not shown): ", in->prompt ? in->prompt : "Secret");
    wait_for_line(&old, &ends);
    sigprocmask(SIG_SETMASK, &before, NULL); /* a signal that came ends us here */
    int rc = read_input(stdin, false, out, err);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
    fputc('\n', stderr);
    return rc;
}

static int read_file(const SecretInput *in, const char *path, Buf *out, Err *err)
{
    int rc = file_read(path, out, err);
    return rc < 0 ? err_wrap(err, "--%s-file", in->opt) : 0;
}

/* The process table shows the argument to everybody; from now on it shows blanks. */
static void read_literal(const SecretInput *in, const char *word, Buf *out)
{
    fprintf(stderr, "Warning: a %s on the command line can be seen by others; use --%s-file or --%s -\n",
            in->what, in->opt, in->opt);
    buf_addz(out, word);
    memset((char *)(uintptr_t)word, ' ', strlen(word));
}

static bool is_stdin(const char *word)
{
    return strcmp(word, "-") == 0 || strcmp(word, "@-") == 0;
}

/* A file of several lines may begin with blanks that mean something. */
static Str trim(Str s, bool end_only)
{
    Str bare = str_trim(s);
    if (!end_only || !bare.len)
        return bare;
    return str_slice(s, 0, (size_t)(bare.ptr - s.ptr) + bare.len);
}

int secret_input(const Args *a, const SecretInput *in, Secret **ret, Err *err)
{
    CLEANUP_SECRET_BUF Buf text = BUF_INIT(SECRET_MAX);
    CLEANUP_FREE char *file_opt = xasprintf("%s-file", in->opt);
    const char *word = opt_str(a, in->opt), *file = opt_str(a, file_opt),
               *env = in->env ? getenv(in->env) : NULL;
    if (word && file)
        return err_set(err, ERR_USAGE, "--%s and --%s are mutually exclusive", in->opt, file_opt);
    if (!word && !file && !env && !in->prompt)
        return 0;
    int rc = 0;
    if (file && !is_stdin(file))
        rc = read_file(in, file, &text, err);
    else if (word && !is_stdin(word))
        read_literal(in, word, &text);
    else if (!word && !file && env)
        buf_addz(&text, env);
    else
        rc = read_stdin(in, &text, err);
    if (rc == 0)
        rc = buf_check(&text, err);
    if (rc < 0)
        return rc;
    Str value = trim(buf_str(&text), in->whole);
    if (!value.len)
        return err_set(err, ERR_USAGE, "no %s given", in->what);
    *ret = secret_new(value);
    return 0;
}
