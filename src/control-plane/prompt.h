/* The initial prompt of a session: project, agent and session, each once. */
#pragma once

#include "base/buf.h"

/* Joins the parts with an empty line; empty parts and those equal to the part before are skipped (starting an
   agent copies its prompt into the session). */
void prompt_join(const Str *parts, size_t n, Buf *out);
