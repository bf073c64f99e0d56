/*
 * What this runner must know after it died: small JSON files in the state directory, replaced whole. The
 * first answers "was this message begun?", so that no message is executed twice; the second is the agent's
 * own conversation id, in the file that other runners use too.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* Seq of the newest user message that a turn was begun for; 0 = none, or the state of another session. */
uint64_t state_load_handled(const char *dir, const char *session_id);
int state_save_handled(const char *dir, const char *session_id, uint64_t seq, Err *err);

char *state_load_conversation(const char *dir, const char *thread_id); /* NULL = none; caller frees */
int state_save_conversation(const char *dir, const char *thread_id, const char *conversation,
                            Err *err); /* NULL drops */
