/*
 * What begins a turn: an AG-UI run input (POST /, or the payload of a `user` message of older clients), or
 * plain text. Only the text of the last message goes to the agent.
 */
#pragma once

#include "json/json.h"

typedef struct RunInput {
    char *thread_id, *run_id,
        *parent_run_id;                  /* thread_id, parent_run_id NULL = not given; run_id never NULL */
    char *text;                          /* of the last message; never NULL, may be blank */
    json_t *messages;                    /* array, every message with an id */
    json_t *state;                       /* object or NULL */
    json_t *tools, *context, *forwarded; /* NULL = not given */
} RunInput;

void run_input_done(RunInput *in);

/* What is wrong with a body, in the reference's validation words. */
typedef struct RunInputFault {
    const char *type, *loc, *msg; /* loc NULL = the body itself */
} RunInputFault;

/* A body of POST /. 0, or -ERR_INVALID with the fault. */
int run_input_parse(Str body, RunInput *ret, RunInputFault *fault);
/* Payload of a user message: a run input when it is an object with a non-empty array `messages` of objects
   that have role and content; anything else is the text itself. */
void run_input_from_payload(Str payload, RunInput *ret);
