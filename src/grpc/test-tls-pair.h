/* A self-signed certificate for "localhost" and its key, good until 2126, for tests only. */
#pragma once

static const char test_cert_pem[] = "-----BEGIN CERTIFICATE-----\n"
                                    "MIIBlTCCATugAwIBAgIUZ+kEEKhY2XFs9Ue7aAALZEuZ4kwwCgYIKoZIzj0EAwIw\n"
                                    "FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNDA3MzAyMFoYDzIxMjYxMDMx\n"
                                    "MDczMDIwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO\n"
                                    "PQMBBwNCAAQ8Eb7Lf+pkvS/10HD//ahPdcK7EdKbxuQez7sodq04h8Nppvha64ir\n"
                                    "bIxwj7g4M3VYjVWu59Niqyu13KQbFTiBo2kwZzAdBgNVHQ4EFgQUoBdDCRMj0uAr\n"
                                    "OnWSH2PTgZVqe1wwHwYDVR0jBBgwFoAUoBdDCRMj0uArOnWSH2PTgZVqe1wwDwYD\n"
                                    "VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID\n"
                                    "SAAwRQIhAMNU+9nIk4pDykOobNIs3HFERPx9ZRGrVM+2lblrSpD1AiArcTvxvYOM\n"
                                    "nmZZkcEwmh3rUwHKnd0cCvrGm0ImKGLBzw==\n"
                                    "-----END CERTIFICATE-----\n";
static const char test_key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                                   "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4RXT6eBox1ph3eiy\n"
                                   "69UHnkRsSsA1g1IZ8SbIG+v392qhRANCAAQ8Eb7Lf+pkvS/10HD//ahPdcK7EdKb\n"
                                   "xuQez7sodq04h8Nppvha64irbIxwj7g4M3VYjVWu59Niqyu13KQbFTiB\n"
                                   "-----END PRIVATE KEY-----\n";
