/*
 * Processes that agents leave behind. The runner is a "child subreaper": whatever loses its parent below it
 * becomes its own child, also after a double fork or setsid. Only own children are ever signalled, so a
 * process number that was used again cannot be hit: a child's number stays taken until we wait for it.
 */
#pragma once

#include <sys/types.h>

void descendants_adopt(void); /* once, at start */
/* Kills the orphans that belong to process group `pgid` (0 = every orphan), round by round until none is
   left. Waits for each to end, for at most a moment. `spare` is a child that somebody else waits for; 0 =
   none. */
void descendants_kill(pid_t pgid, pid_t spare);
void descendants_reap(pid_t spare); /* waits for orphans that have ended */
