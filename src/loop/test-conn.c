#include "test-internal.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "base/buf.h"
#include "base/mem.h"
#include "loop/conn.h"

/* One end of a connection under test. */
typedef struct End {
    Loop *loop;
    Conn *conn;
    Buf in;
    size_t take;      /* consume at most this much per call; 0 = nothing */
    size_t shown_max; /* longest view that on_read saw */
    unsigned drains;
    bool ready, ended, free_on_read, free_on_end;
    ConnEnd how;
    char why[160];
    char peer[64];
} End;

static size_t on_read(void *arg, Str bytes)
{
    End *e = arg;
    size_t n = bytes.len < e->take ? bytes.len : e->take;
    buf_add(&e->in, bytes.ptr, n);
    if (bytes.len > e->shown_max)
        e->shown_max = bytes.len;
    if (e->free_on_read)
        e->conn = conn_free(e->conn);
    return n;
}

static void on_drain(void *arg)
{
    End *e = arg;
    e->drains++;
}

static void on_end(void *arg, ConnEnd how, const char *why)
{
    End *e = arg;
    assert_false(e->ended);
    e->ended = true;
    e->how = how;
    snprintf(e->why, sizeof e->why, "%s", why);
    if (e->free_on_end)
        e->conn = conn_free(e->conn);
}

static void on_ready(void *arg)
{
    End *e = arg;
    e->ready = true;
}

static const ConnOps ops = {on_read, on_drain, on_end, on_ready};

static void accepted(void *arg, Conn *c, const char *peer)
{
    End *e = arg;
    assert_null(e->conn);
    e->conn = c;
    snprintf(e->peer, sizeof e->peer, "%s", peer);
    conn_set_ops(c, &ops, e);
}

typedef struct Pair {
    Loop *loop;
    Listener *listener;
    End server, client;
} Pair;

static void end_init(End *e, Loop *l)
{
    e->loop = l;
    e->in = BUF_INIT(64 << 20);
    e->take = SIZE_MAX;
}

static Pair *pair_new(const char *address)
{
    Pair *p = xnew(Pair);
    Err err = {0};
    p->loop = test_loop();
    end_init(&p->server, p->loop);
    end_init(&p->client, p->loop);
    if (listener_new(p->loop, address, NULL, accepted, &p->server, &p->listener, &err) < 0)
        fail_msg("listener_new: %s", err.msg);
    return p;
}

static void pair_connect(Pair *p, const char *host)
{
    char address[64];
    Err err = {0};
    snprintf(address, sizeof address, "%s:%d", host, listener_port(p->listener));
    if (conn_connect(p->loop, address, NULL, &ops, &p->client, &p->client.conn, &err) < 0)
        fail_msg("conn_connect: %s", err.msg);
    assert_false(p->client.ready);
    PUMP_UNTIL(p->loop, p->client.ready && p->server.ready);
}

static void pair_free(Pair *p)
{
    conn_free(p->server.conn);
    conn_free(p->client.conn);
    listener_free(p->listener);
    buf_done(&p->server.in);
    buf_done(&p->client.in);
    loop_free(p->loop);
    free(p);
}

static Pair *connected(void)
{
    Pair *p = pair_new("127.0.0.1:0");
    pair_connect(p, "127.0.0.1");
    return p;
}

static void test_conn__bytes_go_both_ways(void **state)
{
    Pair *p = connected();
    assert_string_equal(p->server.peer, "127.0.0.1");
    assert_string_equal(conn_peer(p->server.conn), "127.0.0.1");
    assert_string_equal(conn_alpn(p->server.conn), "");
    conn_write(p->client.conn, STR("ping"));
    PUMP_UNTIL(p->loop, p->server.in.len == 4);
    conn_write(p->server.conn, STR("po"));
    conn_write(p->server.conn, STR("ng"));
    PUMP_UNTIL(p->loop, p->client.in.len == 4);
    assert_string_equal(p->client.in.data, "pong");
    pair_free(p);
}

/* Every form of address that listens is reached by the forms that mean the same. */
static void test_conn__forms_of_addresses(void **state)
{
    static const struct {
        const char *listen, *connect, *peer;
    } cases[] = {
        {":0", "127.0.0.1", "127.0.0.1"},
        {":0", "", NULL},
        {"0.0.0.0:0", "localhost", "127.0.0.1"},
        {"localhost:0", "localhost", NULL},
        {"[::1]:0", "[::1]", "::1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Pair *p = pair_new(cases[i].listen);
        pair_connect(p, cases[i].connect);
        if (cases[i].peer)
            assert_string_equal(p->server.peer, cases[i].peer);
        pair_free(p);
    }
}

static void test_conn__bad_addresses_are_refused(void **state)
{
    static const char *const bad[] = {"",        "host",   "host:",   "host:x",   "host:65536",
                                      "host:-1", "::1:80", "[::1]",   "[]:80",    "a:b:80",
                                      "host:+1", "unix:",  "[::1:80", "host:80 ", "host: 80"};
    Loop *l = test_loop();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        Listener *ls = NULL;
        Err err = {0};
        if (listener_new(l, bad[i], NULL, accepted, NULL, &ls, &err) == 0)
            fail_msg("\"%s\" was accepted", bad[i]);
        assert_int_equal(err.code, ERR_INVALID);
    }
    loop_free(l);
}

static void test_conn__unix_socket(void **state)
{
    char dir[] = "/tmp/test-loop-XXXXXX", path[64], address[80];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    snprintf(address, sizeof address, "unix:%s", path);
    for (int i = 0; i < 2; i++) { /* the second finds the first one's file */
        Pair *p = pair_new(address);
        assert_int_equal(conn_connect(p->loop, address, NULL, &ops, &p->client, &p->client.conn, NULL), 0);
        conn_write(p->client.conn, STR("early")); /* kept until connected */
        PUMP_UNTIL(p->loop, p->server.in.len == 5);
        assert_string_equal(p->server.peer, "unix");
        pair_free(p);
    }
    unlink(path);
    rmdir(dir);
}

static void test_conn__taken_port_is_an_error(void **state)
{
    Pair *p = connected();
    char address[32];
    Listener *second = NULL;
    Err err = {0};
    snprintf(address, sizeof address, "127.0.0.1:%d", listener_port(p->listener));
    assert_true(listener_new(p->loop, address, NULL, accepted, NULL, &second, &err) < 0);
    assert_non_null(strstr(err.msg, "Address already in use"));
    pair_free(p);
}

static void check_connect_fails(const char *address)
{
    Loop *l = test_loop();
    End e = {0};
    end_init(&e, l);
    e.free_on_end = true;
    assert_int_equal(conn_connect(l, address, NULL, &ops, &e, &e.conn, NULL), 0);
    assert_false(e.ended);
    PUMP_UNTIL(l, e.ended);
    assert_int_equal(e.how, CONN_ERROR);
    assert_true(strlen(e.why) > 0);
    loop_free(l);
}

static void test_conn__failures_to_connect_come_later(void **state)
{
    char address[32];
    Pair *p = pair_new("127.0.0.1:0");
    snprintf(address, sizeof address, "127.0.0.1:%d", listener_port(p->listener));
    pair_free(p); /* nobody listens there now */
    check_connect_fails(address);
    check_connect_fails("no-such-host.invalid:80");
    check_connect_fails("unix:/nowhere/at/all");
}

static void test_conn__freed_while_its_name_is_looked_up(void **state)
{
    Loop *l = test_loop();
    End e = {0};
    Conn *c = NULL;
    assert_int_equal(conn_connect(l, "no-such-host.invalid:80", NULL, &ops, &e, &c, NULL), 0);
    loop_run_once(l, false); /* the lookup is under way */
    conn_free(c);
    loop_free(l);
    assert_false(e.ended);
    assert_null(conn_free(NULL));
}

static void test_conn__unconsumed_bytes_are_shown_again(void **state)
{
    Pair *p = connected();
    p->server.take = 1;
    conn_write(p->client.conn, STR("abc"));
    PUMP_UNTIL(p->loop, p->server.in.len == 1);
    p->server.take = SIZE_MAX;
    conn_write(p->client.conn, STR("d"));
    PUMP_UNTIL(p->loop, p->server.in.len == 4);
    assert_string_equal(p->server.in.data, "abcd");
    assert_int_equal(p->server.shown_max, 3);
    pair_free(p);
}

static void test_conn__pause_holds_bytes_back_and_resume_shows_them(void **state)
{
    Pair *p = connected();
    p->server.take = 0;
    conn_write(p->client.conn, STR("abc"));
    PUMP_UNTIL(p->loop, p->server.shown_max == 3);
    conn_read_pause(p->server.conn, true);
    p->server.take = SIZE_MAX;
    conn_write(p->client.conn, STR("def"));
    p->client.drains = 0;
    conn_write(p->server.conn, STR("x")); /* the server's turn goes on while it does not read */
    PUMP_UNTIL(p->loop, p->client.in.len == 1);
    loop_run_once(p->loop, false);
    assert_int_equal(p->server.in.len, 0);
    conn_read_pause(p->server.conn, false);
    assert_int_equal(p->server.in.len, 0); /* not before the call returns */
    PUMP_UNTIL(p->loop, p->server.in.len == 6);
    assert_string_equal(p->server.in.data, "abcdef");
    pair_free(p);
}

static void test_conn__end_of_input_leaves_output_open(void **state)
{
    Pair *p = connected();
    conn_write(p->client.conn, STR("question"));
    conn_close_after_flush(p->client.conn, 20 * USEC_PER_SEC);
    p->client.conn = NULL;
    PUMP_UNTIL(p->loop, p->server.ended);
    assert_int_equal(p->server.how, CONN_EOF);
    assert_string_equal(p->server.in.data, "question");
    conn_write(p->server.conn, STR("answer")); /* the other side lingers and takes it */
    PUMP_UNTIL(p->loop, conn_out_len(p->server.conn) == 0);
    pair_free(p);
}

static void test_conn__free_inside_callbacks(void **state)
{
    Pair *p = connected();
    p->server.free_on_read = true;
    p->client.free_on_end = true;
    conn_write(p->client.conn, STR("x"));
    PUMP_UNTIL(p->loop, p->client.ended);
    assert_null(p->server.conn);
    assert_false(p->server.ended); /* freed: nothing more is told */
    pair_free(p);
}

static void test_conn__reset_is_an_error(void **state)
{
    Pair *p = connected();
    p->client.take = 0;
    conn_write(p->server.conn, STR("unread"));
    PUMP_UNTIL(p->loop, p->client.shown_max > 0);
    conn_read_pause(p->client.conn, true);
    conn_write(p->server.conn, STR("more"));
    PUMP_UNTIL(p->loop, conn_out_len(p->server.conn) == 0);
    p->client.conn = conn_free(p->client.conn); /* unread input in the kernel: the peer gets RST */
    PUMP_UNTIL(p->loop, p->server.ended);
    assert_int_equal(p->server.how, CONN_ERROR);
    assert_non_null(strstr(p->server.why, "reset"));
    conn_write(p->server.conn, STR("to nobody"));
    assert_int_equal(conn_out_len(p->server.conn), 0);
    pair_free(p);
}

/* ---- Output ---- */

#define MARK 1000
#define CHUNK 65536
static char chunk[CHUNK];

static void fill_until_blocked(Pair *p)
{
    conn_read_pause(p->client.conn, true);
    conn_set_low_mark(p->server.conn, MARK);
    size_t before;
    do {
        before = conn_out_len(p->server.conn);
        conn_write(p->server.conn, (Str){chunk, CHUNK});
        for (int i = 0; i < 4; i++)
            loop_run_once(p->loop, false);
    } while (conn_out_len(p->server.conn) == 0 || conn_out_len(p->server.conn) != before + CHUNK);
}

static void test_conn__reader_that_does_not_read_fills_our_buffer_only(void **state)
{
    Pair *p = connected();
    fill_until_blocked(p);
    p->server.drains = 0;
    size_t held = conn_out_len(p->server.conn);
    for (int i = 0; i < 10; i++)
        loop_run_once(p->loop, false);
    assert_int_equal(conn_out_len(p->server.conn), held);
    assert_int_equal(p->server.drains, 0);
    conn_read_pause(p->client.conn, false);
    PUMP_UNTIL(p->loop, p->server.drains > 0);
    assert_true(conn_out_len(p->server.conn) <= MARK);
    assert_int_equal(p->server.drains, 1);
    pair_free(p);
}

static void count(void *arg)
{
    ++*(unsigned *)arg;
}

static void test_conn__referenced_bytes_are_released_once(void **state)
{
    Pair *p = connected();
    unsigned released = 0;
    conn_write_ref(p->server.conn, STR("shared"), count, &released);
    assert_int_equal(released, 0);
    PUMP_UNTIL(p->loop, p->client.in.len == 6);
    assert_int_equal(released, 1);
    fill_until_blocked(p);
    conn_write_ref(p->server.conn, STR("never sent"), count, &released);
    assert_int_equal(released, 1);
    p->server.conn = conn_free(p->server.conn);
    assert_int_equal(released, 2);
    conn_write_ref(p->client.conn, STR(""), count, &released); /* nothing to send */
    loop_run_once(p->loop, false);
    assert_int_equal(released, 3);
    pair_free(p);
}

static void test_conn__close_after_flush_sends_all(void **state)
{
    Pair *p = connected();
    fill_until_blocked(p);
    size_t held = conn_out_len(p->server.conn);
    conn_close_after_flush(p->server.conn, USEC_PER_SEC);
    p->server.conn = NULL;
    conn_read_pause(p->client.conn, false);
    PUMP_UNTIL(p->loop, p->client.ended);
    assert_int_equal(p->client.how, CONN_EOF);
    assert_true(p->client.in.len >= held);
    assert_int_equal(p->client.in.len % CHUNK, 0);
    pair_free(p);
}

/* ---- Time ---- */

static void test_conn__silent_peer_times_out(void **state)
{
    Pair *p = connected();
    conn_set_timeouts(p->server.conn, 20 * USEC_PER_MSEC, USEC_NEVER);
    PUMP_UNTIL(p->loop, p->server.ended);
    assert_int_equal(p->server.how, CONN_TIMEOUT);
    pair_free(p);
}

static void test_conn__paused_reading_does_not_time_out(void **state)
{
    Pair *p = connected();
    conn_read_pause(p->server.conn, true);
    conn_set_timeouts(p->server.conn, USEC_PER_MSEC, USEC_NEVER);
    conn_set_timeouts(p->client.conn, 30 * USEC_PER_MSEC, USEC_NEVER);
    PUMP_UNTIL(p->loop, p->client.ended);
    assert_false(p->server.ended);
    conn_read_pause(p->server.conn, false);
    PUMP_UNTIL(p->loop, p->server.ended); /* closed by the client's own timeout, or late by ours */
    pair_free(p);
}

static void test_conn__peer_that_takes_nothing_times_out(void **state)
{
    Pair *p = connected();
    fill_until_blocked(p);
    conn_set_timeouts(p->server.conn, USEC_NEVER, 20 * USEC_PER_MSEC);
    PUMP_UNTIL(p->loop, p->server.ended);
    assert_int_equal(p->server.how, CONN_TIMEOUT);
    pair_free(p);
}

static void test_conn__linger_is_bounded(void **state)
{
    Pair *p = connected();
    conn_close_after_flush(p->server.conn, 10 * USEC_PER_MSEC);
    p->server.conn = NULL;
    PUMP_UNTIL(p->loop, p->client.ended); /* the half-close */
    p->client.ended = false;
    conn_write(p->client.conn, STR("still here"));
    conn_free(p->client.conn); /* the server's side goes by itself: the leak checker sees to it */
    p->client.conn = NULL;
    Timer *t = timer_new(p->loop, on_ready, &p->server);
    p->server.ready = false;
    timer_arm(t, 30 * USEC_PER_MSEC);
    PUMP_UNTIL(p->loop, p->server.ready);
    timer_free(t);
    pair_free(p);
}

/* A listener whose backlog is full: the kernel drops what would open a connection, as a dead host does. */
static int full_listener(char address[static 32], int fillers[static 4])
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    snprintf(address, 32, "127.0.0.1:%d", ntohs(sa.sin_port));
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(fillers[i], (struct sockaddr *)&sa, len);
    }
    return fd;
}

static void test_conn__host_that_does_not_answer_times_out(void **state)
{
    char address[32];
    int fillers[4], fd = full_listener(address, fillers);
    Loop *l = test_loop();
    End e = {0};
    end_init(&e, l);
    assert_int_equal(conn_connect(l, address, NULL, &ops, &e, &e.conn, NULL), 0);
    conn_set_timeouts(e.conn, 20 * USEC_PER_MSEC, USEC_NEVER);
    PUMP_UNTIL(l, e.ended);
    assert_int_equal(e.how, CONN_TIMEOUT);
    assert_non_null(strstr(e.why, "127.0.0.1: Connection timed out"));
    assert_false(e.ready);
    conn_free(e.conn);
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    close(fd);
    loop_free(l);
}

/* ---- Listener ---- */

static void refuse(void *arg, Conn *c, const char *peer)
{
    ++*(unsigned *)arg;
    conn_free(c);
}

static void ignore(void *arg, Conn *c, const char *peer)
{
    ++*(unsigned *)arg;
}

static void check_not_taken(AcceptFn fn)
{
    Loop *l = test_loop();
    Listener *ls = NULL;
    unsigned calls = 0;
    End e = {0};
    char address[32];
    end_init(&e, l);
    e.free_on_end = true;
    assert_int_equal(listener_new(l, "127.0.0.1:0", NULL, fn, &calls, &ls, NULL), 0);
    snprintf(address, sizeof address, "127.0.0.1:%d", listener_port(ls));
    assert_int_equal(conn_connect(l, address, NULL, &ops, &e, &e.conn, NULL), 0);
    PUMP_UNTIL(l, e.ended);
    assert_int_equal(calls, 1);
    listener_free(ls);
    loop_free(l);
}

static void test_listener__connection_nobody_takes_is_closed(void **state)
{
    check_not_taken(refuse);
    check_not_taken(ignore);
}

static void test_listener__pause_leaves_them_in_the_backlog(void **state)
{
    Pair *p = pair_new("127.0.0.1:0");
    char address[32];
    listener_pause(p->listener, true);
    snprintf(address, sizeof address, "127.0.0.1:%d", listener_port(p->listener));
    assert_int_equal(conn_connect(p->loop, address, NULL, &ops, &p->client, &p->client.conn, NULL), 0);
    PUMP_UNTIL(p->loop, p->client.ready); /* the kernel has it */
    loop_run_once(p->loop, false);
    assert_null(p->server.conn);
    listener_pause(p->listener, false);
    PUMP_UNTIL(p->loop, p->server.ready);
    pair_free(p);
}

static void test_listener__sockets_have_no_delay(void **state)
{
    Pair *p = pair_new("127.0.0.1:0");
    int on = 0;
    socklen_t len = sizeof on;
    assert_int_equal(getsockopt(listener_fd(p->listener), IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_int_equal(on, 1); /* inherited by what it accepts, see tcp(7) */
    pair_connect(p, "127.0.0.1");
    conn_set_tcp_user_timeout(p->server.conn, 5 * USEC_PER_SEC);
    pair_free(p);
}

/* Without a free descriptor nothing can be accepted, and the kernel goes on saying "readable". */
static void test_listener__runs_out_of_descriptors_and_goes_on(void **state)
{
    Pair *p = pair_new("127.0.0.1:0");
    struct sockaddr_in sa;
    socklen_t len = sizeof sa;
    struct rlimit old, tight;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), unused = dup(fd);
    assert_int_equal(getsockname(listener_fd(p->listener), (struct sockaddr *)&sa, &len), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
    close(unused);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    tight = (struct rlimit){.rlim_cur = (rlim_t)unused, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    loop_run_once(p->loop, true);
    loop_run_once(p->loop, false); /* nothing to do: it does not spin */
    assert_null(p->server.conn);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    PUMP_UNTIL(p->loop, p->server.ready);
    close(fd);
    pair_free(p);
}

static void test_listener__takes_over_a_socket_that_listens(void **state)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char address[32];
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(fd, 8), 0);
    snprintf(address, sizeof address, "fd:%d", fd);
    Pair *p = pair_new(address);
    assert_int_equal(listener_fd(p->listener), fd);
    pair_connect(p, "127.0.0.1");
    pair_free(p);
}

static void test_listener__descriptors_that_do_not_listen_are_refused(void **state)
{
    static const char *const bad[] = {"fd:", "fd:x", "fd:-1", "fd:999999", "fd:99999999999"};
    Loop *l = test_loop();
    Listener *ls = NULL;
    char address[32];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(listener_new(l, bad[i], NULL, accepted, NULL, &ls, NULL) < 0);
    snprintf(address, sizeof address, "fd:%d", fd);
    assert_int_equal(listener_new(l, address, NULL, accepted, NULL, &ls, NULL), -ERR_INVALID);
    close(fd);
    loop_free(l);
}

int test_conn_group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conn__bytes_go_both_ways),
        cmocka_unit_test(test_conn__forms_of_addresses),
        cmocka_unit_test(test_conn__bad_addresses_are_refused),
        cmocka_unit_test(test_conn__unix_socket),
        cmocka_unit_test(test_conn__taken_port_is_an_error),
        cmocka_unit_test(test_conn__failures_to_connect_come_later),
        cmocka_unit_test(test_conn__freed_while_its_name_is_looked_up),
        cmocka_unit_test(test_conn__unconsumed_bytes_are_shown_again),
        cmocka_unit_test(test_conn__pause_holds_bytes_back_and_resume_shows_them),
        cmocka_unit_test(test_conn__end_of_input_leaves_output_open),
        cmocka_unit_test(test_conn__free_inside_callbacks),
        cmocka_unit_test(test_conn__reset_is_an_error),
        cmocka_unit_test(test_conn__reader_that_does_not_read_fills_our_buffer_only),
        cmocka_unit_test(test_conn__referenced_bytes_are_released_once),
        cmocka_unit_test(test_conn__close_after_flush_sends_all),
        cmocka_unit_test(test_conn__silent_peer_times_out),
        cmocka_unit_test(test_conn__paused_reading_does_not_time_out),
        cmocka_unit_test(test_conn__peer_that_takes_nothing_times_out),
        cmocka_unit_test(test_conn__linger_is_bounded),
        cmocka_unit_test(test_conn__host_that_does_not_answer_times_out),
        cmocka_unit_test(test_listener__runs_out_of_descriptors_and_goes_on),
        cmocka_unit_test(test_listener__connection_nobody_takes_is_closed),
        cmocka_unit_test(test_listener__pause_leaves_them_in_the_backlog),
        cmocka_unit_test(test_listener__sockets_have_no_delay),
        cmocka_unit_test(test_listener__takes_over_a_socket_that_listens),
        cmocka_unit_test(test_listener__descriptors_that_do_not_listen_are_refused),
    };
    return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
