/*
 * kill -9: a child appends and tells through a pipe which messages were acknowledged; it is killed after a
 * random number of them. Afterwards each of them is there, the chain is whole, and the next child goes on.
 */
#include "test-support.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"

enum { ROUNDS = 25, SESSIONS = 3, IN_FLIGHT = 16 };

typedef struct Ack {
    uint32_t session;
    uint32_t seq;
} Ack;

typedef struct Appender {
    Fixture *f;
    char **sessions;
    int fd;
} Appender;

typedef struct Append {
    Appender *a;
    uint32_t session;
    Message *out;
} Append;

static int append_job(Tx *tx, void *arg, Err *err)
{
    Append *p = arg;
    const MessageIn in = {str_from(p->a->sessions[p->session]),
                          STR("user"),
                          STR("some payload"),
                          STR("service"),
                          STR_NULL,
                          STR_NULL,
                          NULL};
    return tx_message_append(tx, &in, &p->out, err);
}

static void append_next(Append *p);

static void append_done(void *arg, int rc, const Err *err)
{
    Append *p = arg;
    Ack ack = {p->session, rc == 0 ? (uint32_t)p->out->seq : 0};
    if (rc < 0 || write(p->a->fd, &ack, sizeof(ack)) != sizeof(ack))
        _exit(1);
    p->out = message_unref(p->out);
    append_next(p);
}

static void append_next(Append *p)
{
    if (store_submit(p->a->f->store, STORE_WRITE, append_job, append_done, p, NULL) < 0)
        _exit(1);
}

static void child_main(Fixture *f, char **sessions, int fd)
{
    Appender a = {f, sessions, fd};
    Append jobs[IN_FLIGHT] = {0};
    Err err = {0};
    if (loop_new(&f->loop, &err) < 0 || store_open(f->loop, &f->options, &f->store, &err) < 0)
        _exit(1);
    for (uint32_t i = 0; i < IN_FLIGHT; i++) {
        jobs[i] = (Append){.a = &a, .session = i % SESSIONS};
        append_next(&jobs[i]);
    }
    loop_run(f->loop);
    _exit(0);
}

static bool read_ack(int fd, uint64_t *acked)
{
    Ack ack;
    ssize_t n = read(fd, &ack, sizeof(ack));
    if (n != sizeof(ack))
        return false;
    if (ack.seq > acked[ack.session])
        acked[ack.session] = ack.seq;
    return true;
}

/* Kills the child after `count` acknowledgements; reads the rest of what it said. */
static void kill_after(Fixture *f, char **sessions, uint32_t count, uint64_t *acked)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        child_main(f, sessions, fds[1]);
    }
    close(fds[1]);
    for (uint32_t i = 0; i < count; i++)
        assert_true(read_ack(fds[0], acked));
    kill(pid, SIGKILL);
    while (read_ack(fds[0], acked))
        continue;
    close(fds[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static void fail_verify(void *arg, Str session, uint64_t seq, const char *why)
{
    fail_msg("session " STR_FMT ": message %lu: %s", STR_ARG(session), (unsigned long)seq, why);
}

static void test_kill__nothing_acknowledged_is_lost(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    char *sessions[SESSIONS];
    uint64_t acked[SESSIONS] = {0};
    uint64_t seed = 42;
    for (int i = 0; i < SESSIONS; i++)
        sessions[i] = new_session(f, "s");
    fixture_close(f);
    for (int round = 0; round < ROUNDS; round++) {
        kill_after(f, sessions, 1 + test_random(&seed) % 400, acked);
        for (int i = 0; i < SESSIONS; i++) {
            uint64_t rows = 0;
            assert_ok(store_verify(&f->options, str_from(sessions[i]), fail_verify, NULL, &rows, &err), &err);
            assert_true(rows >= acked[i]); /* seq has no gaps: so many rows are rows 1 to so many */
            assert_true(rows <= acked[i] + IN_FLIGHT);
        }
    }
    assert_ok(store_verify(&f->options, STR_NULL, fail_verify, NULL, NULL, &err), &err); /* the files too */
    for (int i = 0; i < SESSIONS; i++)
        free(sessions[i]);
}

int run_kill_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_kill__nothing_acknowledged_is_lost),
    };
    return cmocka_run_group_tests_name("store kill", tests, NULL, NULL);
}
