/* Ways to get tokens from an OpenID provider for a person: through a browser here, or on another device. */
#pragma once

#include "oidc.h"

typedef struct LoginFlow {
    Loop *loop;
    Oidc *oidc; /* discovered */
    const char *client_id;
    const char *scopes; /* "" = none are asked for */
    bool open_browser;  /* else the address is only printed */
} LoginFlow;

/* Authorization code with PKCE over a redirect to 127.0.0.1 (RFC 8252). */
int login_browser(const LoginFlow *f, OidcTokens *ret, Err *err);
/* Device authorization grant (RFC 8628). */
int login_device(const LoginFlow *f, OidcTokens *ret, Err *err);
