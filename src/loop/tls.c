#include "loop/tls.h"

#include <arpa/inet.h>
#include <assert.h>

#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "tls-internal.h"

/* Certificates are looked at again this often at most. */
#define RELOAD_INTERVAL USEC_PER_SEC
#define ALPN_MAX 32

/* TLS 1.2 with forward secrecy and AEAD only; the suites of TLS 1.3 all are. */
#define TLS12_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

typedef struct FileStamp {
    struct timespec mtime;
    off_t size;
    ino_t inode;
} FileStamp;

struct TlsContext {
    unsigned refs;
    bool server;
    SSL_CTX *ctx;
    char *cert_file, *key_file, *ca_file, *server_name;
    bool require_client_cert, insecure;
    unsigned char alpn[ALPN_MAX]; /* wire form: length, name */
    size_t alpn_len;              /* 0 = none */
    FileStamp stamps[3];          /* of what was loaded, or tried, last */
    Usec looked;
};

static const char *openssl_reason(void)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    return reason ? reason : "unknown reason";
}

static int tls_fail(Err *err, const char *what, const char *file)
{
    int rc = err_set(err, ERR_INVALID, "tls: %s%s%s: %s", what, file ? " " : "", file ? file : "",
                     openssl_reason());
    ERR_clear_error();
    return rc;
}

static FileStamp stamp_of(const char *path)
{
    struct stat st;
    if (!path || stat(path, &st) < 0)
        return (FileStamp){0};
    return (FileStamp){.mtime = st.st_mtim, .size = st.st_size, .inode = st.st_ino};
}

static bool stamp_eq(const FileStamp *a, const FileStamp *b)
{
    return a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec && a->size == b->size &&
           a->inode == b->inode;
}

/* Takes the stamps of the files as they are now; true when one differs from what was there. */
static bool restamp(TlsContext *t)
{
    const char *paths[] = {t->cert_file, t->key_file, t->ca_file};
    bool changed = false;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        FileStamp now = stamp_of(paths[i]);
        changed |= !stamp_eq(&now, &t->stamps[i]);
        t->stamps[i] = now;
    }
    return changed;
}

static int load_pair(const TlsContext *t, SSL_CTX *ctx, Err *err)
{
    if (!t->cert_file)
        return 0;
    const char *key = t->key_file ? t->key_file : t->cert_file;
    if (SSL_CTX_use_certificate_chain_file(ctx, t->cert_file) != 1)
        return tls_fail(err, "certificate", t->cert_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        return tls_fail(err, "private key", key);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return tls_fail(err, "private key does not belong to certificate", t->cert_file);
    return 0;
}

static int load_roots(const TlsContext *t, SSL_CTX *ctx, Err *err)
{
    if (!t->ca_file)
        return t->server || SSL_CTX_set_default_verify_paths(ctx) == 1 ? 0
                                                                       : tls_fail(err, "system roots", NULL);
    if (SSL_CTX_load_verify_locations(ctx, t->ca_file, NULL) != 1)
        return tls_fail(err, "certificate authorities", t->ca_file);
    if (t->server)
        SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(t->ca_file));
    return 0;
}

/* Picks our one protocol from the client's list, or ends the handshake. Not called when the client sent none.
 */
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                       unsigned in_len, void *arg)
{
    const TlsContext *t = arg;
    unsigned at = 0;
    while (at < in_len && in[at] <= in_len - at - 1) {
        const unsigned char *name = in + at + 1;
        if (in[at] == t->alpn[0] && memcmp(name, t->alpn + 1, in[at]) == 0) {
            *out = name;
            *out_len = in[at];
            return SSL_TLSEXT_ERR_OK;
        }
        at += in[at] + 1U;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int verify_mode(const TlsContext *t)
{
    if (!t->server)
        return t->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
    if (!t->ca_file)
        return SSL_VERIFY_NONE;
    return SSL_VERIFY_PEER | (t->require_client_cert ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
}

/* An encrypted key would make OpenSSL ask the terminal. */
static int no_password(char *buf, int size, int rwflag, void *arg)
{
    return 0;
}

static int set_rules(TlsContext *t, SSL_CTX *ctx, Err *err)
{
    static const unsigned char id[] = "ambient"; /* resumption with client certificates wants a name */
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ctx, TLS12_CIPHERS) != 1 ||
        SSL_CTX_set_session_id_context(ctx, id, sizeof id - 1) != 1)
        return tls_fail(err, "settings", NULL);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ctx, verify_mode(t), NULL);
    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    if (t->alpn_len == 0)
        return 0;
    if (t->server)
        SSL_CTX_set_alpn_select_cb(ctx, select_alpn, t);
    else if (SSL_CTX_set_alpn_protos(ctx, t->alpn, (unsigned)t->alpn_len) != 0)
        return tls_fail(err, "protocol name", NULL);
    return 0;
}

static SSL_CTX *ctx_free(SSL_CTX *ctx)
{
    SSL_CTX_free(ctx);
    return NULL;
}
DEFINE_CLEANUP(SSL_CTX, ctx_free)

/* Replaces t->ctx only when everything loaded. Sessions hold their own reference on the context they began
 * with. */
static int load(TlsContext *t, Err *err)
{
    CLEANUP(ctx_freep) SSL_CTX *ctx = SSL_CTX_new(t->server ? TLS_server_method() : TLS_client_method());
    if (!ctx)
        return tls_fail(err, "no context", NULL);
    int rc = set_rules(t, ctx, err);
    if (rc == 0)
        rc = load_pair(t, ctx, err);
    if (rc == 0)
        rc = load_roots(t, ctx, err);
    if (rc < 0)
        return rc;
    SSL_CTX_free(t->ctx);
    t->ctx = TAKE(ctx);
    return 0;
}

static char *dup_or_null(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

static int set_alpn(TlsContext *t, const char *name, Err *err)
{
    size_t len = name ? strlen(name) : 0;
    if (len == 0)
        return 0;
    if (len >= sizeof t->alpn)
        return err_set(err, ERR_INVALID, "tls: protocol name is too long");
    t->alpn[0] = (unsigned char)len;
    memcpy(t->alpn + 1, name, len);
    t->alpn_len = len + 1;
    return 0;
}

DEFINE_CLEANUP(TlsContext, tls_free)

static int tls_new(const TlsOptions *o, bool server, TlsContext **ret, Err *err)
{
    CLEANUP(tls_freep) TlsContext *t = xnew(TlsContext);
    t->refs = 1;
    t->server = server;
    t->cert_file = dup_or_null(o->cert_file);
    t->key_file = dup_or_null(o->key_file);
    t->ca_file = dup_or_null(o->ca_file);
    t->server_name = dup_or_null(o->server_name);
    t->require_client_cert = o->require_client_cert;
    t->insecure = o->insecure_skip_verify;
    int rc = set_alpn(t, o->alpn, err);
    if (rc < 0)
        return rc;
    restamp(t);
    rc = load(t, err);
    if (rc < 0)
        return rc;
    *ret = TAKE(t);
    return 0;
}

int tls_server_new(const TlsOptions *o, TlsContext **ret, Err *err)
{
    if (!o->cert_file || !o->key_file)
        return err_set(err, ERR_INVALID, "tls: a server needs a certificate and a key");
    if (o->require_client_cert && !o->ca_file)
        return err_set(err, ERR_INVALID, "tls: client certificates are required, but no authority is given");
    return tls_new(o, true, ret, err);
}

int tls_client_new(const TlsOptions *o, TlsContext **ret, Err *err)
{
    return tls_new(o, false, ret, err);
}

TlsContext *tls_ref(TlsContext *t)
{
    t->refs++;
    return t;
}

TlsContext *tls_free(TlsContext *t)
{
    if (!t || --t->refs > 0)
        return NULL;
    SSL_CTX_free(t->ctx);
    free(t->cert_file);
    free(t->key_file);
    free(t->ca_file);
    free(t->server_name);
    free(t);
    return NULL;
}

/* A certificate that is being replaced is read in two halves sometimes: then the pair does not fit, the old
   one stays, and the second half changes a stamp again. */
static void reload_if_changed(TlsContext *t, Usec now)
{
    if (!t->server || (t->looked != 0 && now < usec_add(t->looked, RELOAD_INTERVAL)))
        return;
    t->looked = now;
    if (!restamp(t))
        return;
    Err err = {0};
    if (load(t, &err) < 0)
        log_warn("TLS files changed but do not load, the old ones stay in use", F_STR("file", t->cert_file),
                 F_ERR(&err));
    else
        log_info("TLS certificate loaded again", F_STR("file", t->cert_file));
}

static bool is_address(const char *host)
{
    unsigned char raw[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, raw) == 1 || inet_pton(AF_INET6, host, raw) == 1;
}

/* Names go into SNI and are verified as names, addresses are verified as addresses and not sent (RFC 6066).
 */
static int expect_name(SSL *ssl, const char *host)
{
    if (is_address(host))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1 ? 0 : -1;
    void *name = (void *)(uintptr_t)host; /* copied by the call */
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name) == 1 &&
                   SSL_set1_host(ssl, host) == 1
               ? 0
               : -1;
}

int tls_session_new(TlsContext *t, const char *host, Usec now, SSL **ret, Err *err)
{
    reload_if_changed(t, now);
    SSL *ssl = SSL_new(t->ctx);
    if (!ssl)
        return tls_fail(err, "no session", NULL);
    if (t->server) {
        SSL_set_accept_state(ssl);
    } else {
        SSL_set_connect_state(ssl);
        const char *name = t->server_name ? t->server_name : host;
        bool named = name && *name && expect_name(ssl, name) == 0;
        if (!named && !t->insecure) {
            SSL_free(ssl);
            return tls_fail(err, "no valid host name to verify", name);
        }
    }
    *ret = ssl;
    return 0;
}

int tls_session_check(const TlsContext *t, SSL *ssl, Err *err)
{
    if (t->alpn_len == 0)
        return 0;
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(ssl, &name, &len);
    if (len == t->alpn_len - 1 && memcmp(name, t->alpn + 1, len) == 0)
        return 0;
    return err_set(err, ERR_INVALID, "tls: peer does not speak %.*s", (int)t->alpn_len - 1, t->alpn + 1);
}

void tls_explain(SSL *ssl, int errnum, char *out, size_t size)
{
    long verdict = SSL_get_verify_result(ssl);
    if (verdict != X509_V_OK && ERR_GET_REASON(ERR_peek_error()) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        snprintf(out, size, "tls: %s", X509_verify_cert_error_string(verdict));
    else if (ERR_peek_error())
        snprintf(out, size, "tls: %s", openssl_reason());
    else if (errnum)
        snprintf(out, size, "tls: %s", strerrordesc_np(errnum));
    else
        snprintf(out, size, "tls: the peer broke off");
    ERR_clear_error();
}
