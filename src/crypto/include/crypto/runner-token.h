/*
 * What a session's runner wants to see of whoever speaks to its HTTP port. It is derived from a key that the
 * API server and the control plane share, so it is another one for each session and nobody has to store or
 * pass it: the control plane gives it to the runner's pod (AGUI_TOKEN), the API server sends it
 * (X-Ambient-Session-Token).
 */
#pragma once

#include "base/secret.h"

#define RUNNER_KEY_MIN 16 /* bytes */

/* 64 hex digits: HMAC-SHA256 of "ambient-runner\n" and the session's id. Never NULL. */
Secret *runner_token(const Secret *key, Str session_id);
