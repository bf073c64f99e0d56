/* The real API server behind api.h. */
#pragma once

#include "api.h"

/* client is borrowed and outlives it. */
Api *api_client_new(Client *client);
/* Whoever does not lead changes nothing: asked immediately before each request that would. */
void api_client_fence(Api *a, bool (*may_write)(void *arg), void *arg);
Api *api_client_free(Api *a); /* every call has ended or was cancelled; NULL-safe, returns NULL */
