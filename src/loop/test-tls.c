#include "test-internal.h"

#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/buf.h"
#include "base/mem.h"
#include "loop/conn.h"
#include "loop/tls.h"

/* ---- Certificates ---- */

typedef struct Identity {
    EVP_PKEY *key;
    X509 *cert;
} Identity;

static void extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(ext);
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
}

/* A certificate signed by `ca`, or by itself as an authority when `ca` is NULL. */
static Identity identity(const char *name, const char *alt, const Identity *ca)
{
    static int serial;
    Identity id = {.key = EVP_EC_gen("P-256"), .cert = X509_new()};
    X509 *issuer = ca ? ca->cert : id.cert;
    X509_set_version(id.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(id.cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(id.cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(id.cert), 3600);
    X509_set_pubkey(id.cert, id.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(id.cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(id.cert, X509_get_subject_name(issuer));
    extend(id.cert, issuer, NID_basic_constraints, ca ? "CA:FALSE" : "critical,CA:TRUE");
    if (alt)
        extend(id.cert, issuer, NID_subject_alt_name, alt);
    assert_true(X509_sign(id.cert, ca ? ca->key : id.key, EVP_sha256()) > 0);
    return id;
}

static void identity_done(Identity *id)
{
    EVP_PKEY_free(id->key);
    X509_free(id->cert);
}

static void write_identity(const Identity *id, const char *cert_file, const char *key_file)
{
    FILE *f = fopen(cert_file, "we");
    assert_non_null(f);
    PEM_write_X509(f, id->cert);
    fclose(f);
    if (!key_file)
        return;
    f = fopen(key_file, "we");
    assert_non_null(f);
    PEM_write_PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
}

/* ---- A server and a client ---- */

typedef struct Peer {
    Conn *conn;
    Buf in;
    bool ready, ended;
    ConnEnd how;
    char why[200];
} Peer;

typedef struct World {
    Loop *loop;
    char dir[32], ca_file[64], cert_file[64], key_file[64], client_cert[64], client_key[64];
    Identity ca, server_id, client_id;
    TlsContext *server_tls, *client_tls;
    Listener *listener;
    Peer server, client;
} World;

static size_t on_read(void *arg, Str bytes)
{
    Peer *p = arg;
    buf_adds(&p->in, bytes);
    return bytes.len;
}

static void on_end(void *arg, ConnEnd how, const char *why)
{
    Peer *p = arg;
    p->ended = true;
    p->how = how;
    snprintf(p->why, sizeof p->why, "%s", why);
}

static void on_ready(void *arg)
{
    Peer *p = arg;
    p->ready = true;
}

static void on_drain(void *arg)
{
}

static const ConnOps ops = {on_read, on_drain, on_end, on_ready};

static void accepted(void *arg, Conn *c, const char *peer)
{
    World *w = arg;
    assert_null(w->server.conn);
    w->server.conn = c;
    conn_set_ops(c, &ops, &w->server);
}

static void path_in(const World *w, char out[static 64], const char *name)
{
    snprintf(out, 64, "%s/%s", w->dir, name);
}

static int setup(void **state)
{
    World *w = xnew(World);
    snprintf(w->dir, sizeof w->dir, "/tmp/test-tls-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    path_in(w, w->ca_file, "ca.pem");
    path_in(w, w->cert_file, "cert.pem");
    path_in(w, w->key_file, "key.pem");
    path_in(w, w->client_cert, "client.pem");
    path_in(w, w->client_key, "client-key.pem");
    w->ca = identity("test authority", NULL, NULL);
    w->server_id = identity("server", "DNS:localhost,DNS:good.example,IP:127.0.0.1", &w->ca);
    w->client_id = identity("client", NULL, &w->ca);
    write_identity(&w->ca, w->ca_file, NULL);
    write_identity(&w->server_id, w->cert_file, w->key_file);
    write_identity(&w->client_id, w->client_cert, w->client_key);
    w->loop = test_loop();
    w->server.in = w->client.in = BUF_INIT(64 << 20);
    *state = w;
    return 0;
}

static void drop_connection(World *w)
{
    Peer *const peers[] = {&w->server, &w->client};
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        conn_free(peers[i]->conn);
        buf_done(&peers[i]->in);
        *peers[i] = (Peer){.in = BUF_INIT(64 << 20)};
    }
}

static int teardown(void **state)
{
    World *w = *state;
    drop_connection(w);
    listener_free(w->listener);
    tls_free(w->server_tls);
    tls_free(w->client_tls);
    loop_free(w->loop);
    const char *files[] = {w->ca_file, w->cert_file, w->key_file, w->client_cert, w->client_key};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlink(files[i]);
    rmdir(w->dir);
    identity_done(&w->ca), identity_done(&w->server_id), identity_done(&w->client_id);
    free(w);
    return 0;
}

static void serve(World *w, TlsOptions o)
{
    Err err = {0};
    o.cert_file = w->cert_file;
    o.key_file = w->key_file;
    if (tls_server_new(&o, &w->server_tls, &err) < 0 ||
        listener_new(w->loop, "127.0.0.1:0", w->server_tls, accepted, w, &w->listener, &err) < 0)
        fail_msg("%s", err.msg);
}

static void dial(World *w, TlsOptions o)
{
    Err err = {0};
    char address[32];
    w->client_tls = tls_free(w->client_tls);
    if (!o.ca_file)
        o.ca_file = w->ca_file;
    snprintf(address, sizeof address, "127.0.0.1:%d", listener_port(w->listener));
    if (tls_client_new(&o, &w->client_tls, &err) < 0 ||
        conn_connect(w->loop, address, w->client_tls, &ops, &w->client, &w->client.conn, &err) < 0)
        fail_msg("%s", err.msg);
}

static void must_talk(World *w)
{
    PUMP_UNTIL(w->loop, (w->client.ready && w->server.ready) || w->client.ended || w->server.ended);
    if (w->client.ended || w->server.ended)
        fail_msg("client: %s; server: %s", w->client.why, w->server.why);
    conn_write(w->client.conn, STR("ping"));
    conn_write(w->server.conn, STR("pong"));
    PUMP_UNTIL(w->loop, w->server.in.len == 4 && w->client.in.len == 4);
    assert_string_equal(w->server.in.data, "ping");
    assert_string_equal(w->client.in.data, "pong");
}

static void must_fail(World *w, const char *client_why)
{
    PUMP_UNTIL(w->loop, w->client.ended && (w->server.ended || !w->server.conn));
    if (client_why && !strstr(w->client.why, client_why))
        fail_msg("client says \"%s\", not \"%s\"", w->client.why, client_why);
    assert_int_equal(w->client.how, CONN_ERROR);
}

/* ---- Tests ---- */

static void test_tls__talks_when_the_name_is_right(void **state)
{
    World *w = *state;
    serve(w, (TlsOptions){0});
    dial(w, (TlsOptions){0}); /* by address */
    must_talk(w);
    drop_connection(w);
    dial(w, (TlsOptions){.server_name = "good.example"});
    must_talk(w);
}

static void test_tls__wrong_name_is_refused(void **state)
{
    World *w = *state;
    serve(w, (TlsOptions){0});
    dial(w, (TlsOptions){.server_name = "bad.example"});
    must_fail(w, "hostname mismatch");
}

static void test_tls__unknown_authority_is_refused(void **state)
{
    World *w = *state;
    serve(w, (TlsOptions){0});
    dial(w, (TlsOptions){.ca_file = w->client_cert});
    must_fail(w, "certificate");
}

static void test_tls__verification_can_be_switched_off(void **state)
{
    World *w = *state;
    serve(w, (TlsOptions){0});
    dial(w,
         (TlsOptions){.ca_file = w->client_cert, .server_name = "bad.example", .insecure_skip_verify = true});
    must_talk(w);
}

static void test_tls__protocol_is_negotiated(void **state)
{
    World *w = *state;
    serve(w, (TlsOptions){.alpn = "h2"});
    dial(w, (TlsOptions){.alpn = "h2"});
    must_talk(w);
    assert_string_equal(conn_alpn(w->server.conn), "h2");
    assert_string_equal(conn_alpn(w->client.conn), "h2");
}

static void test_tls__peer_without_the_protocol_is_refused(void **state)
{
    World *w = *state;
    serve(w, (TlsOptions){.alpn = "h2"});
    dial(w, (TlsOptions){.alpn = "http/1.1"});
    must_fail(w, "no application protocol");
    drop_connection(w);
    dial(w, (TlsOptions){0}); /* offers none at all */
    PUMP_UNTIL(w->loop, w->server.ended);
    assert_int_equal(w->server.how, CONN_ERROR);
    assert_non_null(strstr(w->server.why, "does not speak h2"));
}

static void test_tls__client_wants_a_protocol_the_server_does_not_name(void **state)
{
    World *w = *state;
    serve(w, (TlsOptions){0});
    dial(w, (TlsOptions){.alpn = "h2"});
    PUMP_UNTIL(w->loop, w->client.ended);
    assert_non_null(strstr(w->client.why, "does not speak h2"));
}

static void test_tls__client_certificates(void **state)
{
    World *w = *state;
    serve(w, (TlsOptions){.ca_file = w->ca_file, .require_client_cert = true});
    dial(w, (TlsOptions){.cert_file = w->client_cert, .key_file = w->client_key});
    must_talk(w);
    drop_connection(w);
    dial(w, (TlsOptions){0}); /* none: in TLS 1.3 the client learns of it after its own handshake */
    PUMP_UNTIL(w->loop, w->server.ended);
    assert_int_equal(w->server.how, CONN_ERROR);
    assert_false(w->server.ready);
}

static void test_tls__large_transfer_both_ways(void **state)
{
    World *w = *state;
    enum { SIZE = 5 << 20 };
    char *data = xmalloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)(i * 31 >> 3);
    serve(w, (TlsOptions){0});
    dial(w, (TlsOptions){0});
    conn_write(w->client.conn, (Str){data, SIZE}); /* before it is connected */
    PUMP_UNTIL(w->loop, w->server.ready);
    conn_write(w->server.conn, (Str){data, SIZE});
    PUMP_UNTIL(w->loop, w->server.in.len == SIZE && w->client.in.len == SIZE);
    assert_memory_equal(w->server.in.data, data, SIZE);
    assert_memory_equal(w->client.in.data, data, SIZE);
    free(data);
}

/* The socket fills up in the middle of records; what OpenSSL holds already is not forgotten by pausing. */
static void test_tls__slow_reader(void **state)
{
    World *w = *state;
    enum { SIZE = 20 << 20 };
    char *data = xcalloc(1, SIZE);
    serve(w, (TlsOptions){0});
    dial(w, (TlsOptions){0});
    must_talk(w);
    conn_read_pause(w->client.conn, true);
    conn_write(w->server.conn, (Str){data, SIZE});
    size_t left;
    do {
        left = conn_out_len(w->server.conn);
        for (int i = 0; i < 10; i++)
            loop_run_once(w->loop, false);
    } while (conn_out_len(w->server.conn) != left || left == SIZE);
    assert_true(left > 0);
    assert_int_equal(w->client.in.len, 4);
    while (w->client.in.len < SIZE + 4) { /* a little at a time */
        size_t before = w->client.in.len;
        conn_read_pause(w->client.conn, false);
        PUMP_UNTIL(w->loop, w->client.in.len > before);
        conn_read_pause(w->client.conn, true);
    }
    free(data);
}

static void test_tls__silent_client_is_cut(void **state)
{
    World *w = *state;
    char address[32];
    serve(w, (TlsOptions){0});
    snprintf(address, sizeof address, "127.0.0.1:%d", listener_port(w->listener));
    assert_int_equal(conn_connect(w->loop, address, NULL, &ops, &w->client, &w->client.conn, NULL), 0);
    PUMP_UNTIL(w->loop, w->server.conn);
    conn_set_timeouts(w->server.conn, 20 * USEC_PER_MSEC, USEC_NEVER);
    PUMP_UNTIL(w->loop, w->server.ended);
    assert_int_equal(w->server.how, CONN_TIMEOUT);
    assert_string_equal(w->server.why, "TLS handshake takes too long");
}

static void test_tls__closing_is_told_to_the_peer(void **state)
{
    World *w = *state;
    serve(w, (TlsOptions){0});
    dial(w, (TlsOptions){0});
    must_talk(w);
    conn_write(w->server.conn, STR(" bye"));
    conn_close_after_flush(w->server.conn, USEC_PER_SEC);
    w->server.conn = NULL;
    PUMP_UNTIL(w->loop, w->client.ended);
    assert_int_equal(w->client.how, CONN_EOF);
    assert_string_equal(w->client.in.data, "pong bye");
}

static void test_tls__plain_text_is_no_handshake(void **state)
{
    World *w = *state;
    char address[32];
    serve(w, (TlsOptions){0});
    snprintf(address, sizeof address, "127.0.0.1:%d", listener_port(w->listener));
    assert_int_equal(conn_connect(w->loop, address, NULL, &ops, &w->client, &w->client.conn, NULL), 0);
    conn_write(w->client.conn, STR("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    PUMP_UNTIL(w->loop, w->server.ended);
    assert_int_equal(w->server.how, CONN_ERROR);
    assert_false(w->server.ready);
}

/* Whom the client accepts tells which certificate the server shows. */
static bool server_is(World *w, const char *name)
{
    dial(w, (TlsOptions){.server_name = name});
    PUMP_UNTIL(w->loop, w->client.ready || w->client.ended);
    bool yes = w->client.ready;
    if (!yes)
        PUMP_UNTIL(w->loop, w->server.ended || !w->server.conn);
    drop_connection(w);
    return yes;
}

/* Until the server's look at its files, at most once a second, is due again. */
static void wait_for_reload(World *w, const char *name)
{
    Usec end = loop_now(w->loop) + 10 * USEC_PER_SEC;
    while (!server_is(w, name))
        assert_true(loop_now(w->loop) < end);
}

static void test_tls__certificate_is_loaded_again_when_it_changes(void **state)
{
    World *w = *state;
    serve(w, (TlsOptions){0});
    assert_true(server_is(w, "good.example"));
    Identity next = identity("server", "DNS:next.example", &w->ca);
    write_identity(&next, w->cert_file, NULL); /* the key does not fit yet: the old pair stays */
    struct timespec pause = {.tv_sec = 1, .tv_nsec = 100000000};
    nanosleep(&pause, NULL); /* not for an event: the interval between two looks is what is tested */
    assert_true(server_is(w, "good.example"));
    write_identity(&next, w->cert_file, w->key_file);
    wait_for_reload(w, "next.example");
    identity_done(&next);
}

static void test_tls__bad_files_are_errors(void **state)
{
    World *w = *state;
    TlsContext *t = NULL;
    Err err = {0};
    TlsOptions none = {0};
    assert_true(tls_server_new(&none, &t, &err) < 0);
    TlsOptions missing = {.cert_file = "/nowhere", .key_file = "/nowhere"};
    assert_true(tls_server_new(&missing, &t, &err) < 0);
    assert_non_null(strstr(err.msg, "/nowhere"));
    TlsOptions mixed = {.cert_file = w->cert_file, .key_file = w->client_key};
    assert_true(tls_server_new(&mixed, &t, &err) < 0);
    TlsOptions no_ca = {.cert_file = w->cert_file, .key_file = w->key_file, .require_client_cert = true};
    assert_true(tls_server_new(&no_ca, &t, &err) < 0);
    TlsOptions bad_ca = {.ca_file = w->key_file};
    assert_true(tls_client_new(&bad_ca, &t, &err) < 0);
    assert_null(t);
    assert_null(tls_free(NULL));
}

static void test_tls__system_roots_do_not_know_us(void **state)
{
    World *w = *state;
    serve(w, (TlsOptions){0});
    char address[32];
    TlsOptions o = {0};
    snprintf(address, sizeof address, "127.0.0.1:%d", listener_port(w->listener));
    assert_int_equal(tls_client_new(&o, &w->client_tls, NULL), 0);
    assert_int_equal(conn_connect(w->loop, address, w->client_tls, &ops, &w->client, &w->client.conn, NULL),
                     0);
    must_fail(w, "unable to get local issuer certificate");
}

#define TLS_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int test_tls_group(void)
{
    const struct CMUnitTest tests[] = {
        TLS_TEST(test_tls__talks_when_the_name_is_right),
        TLS_TEST(test_tls__wrong_name_is_refused),
        TLS_TEST(test_tls__unknown_authority_is_refused),
        TLS_TEST(test_tls__verification_can_be_switched_off),
        TLS_TEST(test_tls__protocol_is_negotiated),
        TLS_TEST(test_tls__peer_without_the_protocol_is_refused),
        TLS_TEST(test_tls__client_wants_a_protocol_the_server_does_not_name),
        TLS_TEST(test_tls__client_certificates),
        TLS_TEST(test_tls__large_transfer_both_ways),
        TLS_TEST(test_tls__slow_reader),
        TLS_TEST(test_tls__silent_client_is_cut),
        TLS_TEST(test_tls__closing_is_told_to_the_peer),
        TLS_TEST(test_tls__plain_text_is_no_handshake),
        TLS_TEST(test_tls__certificate_is_loaded_again_when_it_changes),
        TLS_TEST(test_tls__bad_files_are_errors),
        TLS_TEST(test_tls__system_roots_do_not_know_us),
    };
    return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
