/* The control plane as a whole: makes the parts, connects them, runs until it is told to end. */
#pragma once

#include "config.h"

/* Returns the program's exit status; errors of the start are returned in err with a negative value. */
int app_run(const Config *c, Err *err);
