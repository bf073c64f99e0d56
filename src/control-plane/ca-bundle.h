/*
 * Roots for TLS out of two files. OpenShift puts the authority of its services beside the token of each pod
 * (service-ca.crt); programs that are told of a file look nowhere else, so the public roots must be in it,
 * too.
 */
#pragma once

#include "base/err.h"

#define CA_PUBLIC "/etc/ssl/certs/ca-certificates.crt"
#define CA_SERVICE "/var/run/secrets/kubernetes.io/serviceaccount/service-ca.crt"

/* *ret = the name of a file in memory, for as long as this process lives; NULL when `extra` does not exist.
   Where there are no public roots it holds the others alone. */
int ca_bundle_make(const char *roots, const char *extra, char **ret, Err *err);
