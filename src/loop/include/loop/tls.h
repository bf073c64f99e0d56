/*
 * TLS contexts (OpenSSL 3): TLS 1.2 and 1.3 only, AEAD suites, verification on unless a named flag says
 * otherwise. A server context looks at its files again (mtime and size) at most once a second when a
 * handshake starts; a pair that does not load is logged and the old one stays in use.
 */
#pragma once

#include <stdbool.h>
#include "base/err.h"

typedef struct TlsContext TlsContext;

typedef struct TlsOptions {
    const char *cert_file, *key_file; /* server: required; client: optional client certificate */
    const char *ca_file; /* client: roots instead of the system's; server: client CAs (mutual TLS) */
    bool require_client_cert;
    bool insecure_skip_verify; /* client only; the caller warns the user */
    const char *alpn;          /* "h2", "http/1.1" or NULL; a server with one refuses peers without */
    const char *server_name;   /* client: name to verify and SNI, when it is not the host */
} TlsOptions;

int tls_server_new(const TlsOptions *o, TlsContext **ret, Err *err);
int tls_client_new(const TlsOptions *o, TlsContext **ret, Err *err);
TlsContext *tls_ref(TlsContext *t);
TlsContext *tls_free(TlsContext *t); /* drops a reference; NULL-safe */
