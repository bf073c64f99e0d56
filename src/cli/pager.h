/* The setting `pager` for output that may be long. */
#pragma once

#include "app.h"

/* Starts it, when there is one and a terminal to show something on; what goes to standard output then goes
   through it. Returns its process, 0 = none. */
pid_t pager_start(const App *app, const Command *c);
void pager_wait(pid_t pager); /* ends the output and waits until the person has read it */
/* A pager shows what would have gone to a terminal, so it is written as for one. */
bool pager_is_used(void);
