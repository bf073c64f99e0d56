/*
 * Shared by the unit tests of this room: keys made and tokens signed with OpenSSL alone, so that the code
 * under test is judged by another implementation. Each file exports one function that runs its group: 0, or
 * failures.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <unistd.h>
#include "auth/authz.h"
#include "base/mem.h"
#include "claims-internal.h"
#include "jwt-internal.h"
#include "keys-internal.h"

#define NOW_S INT64_C(1775001600) /* 2026-04-01T00:00:00Z, what the fake clock starts with */
#define CLAIMS_ALICE "{\"preferred_username\":\"alice\",\"exp\":1775005200}"

/* Turns the loop until the condition holds. A test that waits for ever is ended by the alarm. */
#define PUMP_UNTIL(l, cond)                                                                                  \
    do {                                                                                                     \
        alarm(30);                                                                                           \
        while (!(cond))                                                                                      \
            loop_run_once((l), true);                                                                        \
        alarm(0);                                                                                            \
    } while (0)

/* Made once per process: making RSA keys is slow. */
typedef enum TestKey {
    KEY_RSA,
    KEY_RSA_OTHER,
    KEY_RSA_1024,
    KEY_EC,
    KEY_EC_384,
    KEY_ED25519,
    _TEST_KEY_MAX
} TestKey;
EVP_PKEY *test_key(TestKey which);
void test_keys_done(void);

/* A public JWK of the key as text; `extra` is pasted behind, e.g. ",\"alg\":\"RS256\"". Caller frees. */
char *test_jwk(TestKey which, const char *kid, const char *extra);
/* {"keys":[a,b]}; b may be NULL; takes over both. Caller frees. */
char *test_jwks(char *a, char *b);
/* header and payload are JSON text; alg chooses how it is signed ("none": an empty signature; "HS256": with
   the PEM of the key as shared secret). Caller frees. */
char *test_sign(TestKey which, const char *alg, const char *header, const char *payload);
/* test_sign with {"alg":alg,"kid":kid}. */
char *test_token(TestKey which, const char *alg, const char *kid, const char *payload);

char *test_dir(void); /* fresh; caller frees, and removes it with dir_remove_tree() */
void test_write(const char *path, const char *text);

int run_authz_tests(void);
int run_claims_tests(void);
int run_jwk_tests(void);
int run_jwt_tests(void);
int run_auth_tests(void);
int run_keys_tests(void);
int run_session_token_tests(void);
