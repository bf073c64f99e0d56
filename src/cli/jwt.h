/* A token's claims, read without verifying: only to tell the user about the own token. The server verifies.
 */
#pragma once

#include "base/clock.h"
#include "base/str.h"

typedef struct Jwt {
    char *username; /* the server's notion: username, preferred_username, else sub */
    char *subject, *email;
    WallUsec exp; /* 0 = none */
} Jwt;
int jwt_read(Str token, Jwt *ret); /* 0, or -1 when it is no JWT */
void jwt_done(Jwt *j);
