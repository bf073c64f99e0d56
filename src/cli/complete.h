/* Names for completion: kinds, contexts, settings, and the names of what the server has. */
#pragma once

#include "command.h"

/* Prints nothing when the server does not answer within a second; remembers its answers for some seconds. */
void complete_names(const Completion *c);
