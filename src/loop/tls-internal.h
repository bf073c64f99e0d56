/* TLS sessions for conn.c. */
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>
#include "base/clock.h"
#include "loop/tls.h"

/* A session for one connection; the caller sets its descriptor. `host` is what a client dialled, NULL on a
 * server. */
int tls_session_new(TlsContext *t, const char *host, Usec now, SSL **ret, Err *err);
/* After the handshake: both sides agreed on the protocol that the options name. */
int tls_session_check(const TlsContext *t, SSL *ssl, Err *err);
/* Why the last call on `ssl` failed, and clears OpenSSL's error queue. */
void tls_explain(SSL *ssl, int errnum, char *out, size_t size);
