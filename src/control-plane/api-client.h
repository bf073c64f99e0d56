/* The real API server behind api.h. */
#pragma once

#include "api.h"

/* client is borrowed and outlives it. */
Api *api_client_new(Client *client);
Api *api_client_free(Api *a); /* every call has ended or was cancelled; NULL-safe, returns NULL */
