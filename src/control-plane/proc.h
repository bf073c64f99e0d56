/*
 * Other processes, safely: a process is named by its number and its start time, a signal goes through a
 * descriptor that was checked against both, so that a number that was used again is never hit.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/clock.h"

#define BOOT_ID_MAX 40

/* Start time in clock ticks since boot; -1 when there is no such process (a zombie counts as none). */
int64_t proc_start_ticks(pid_t pid);
/* A pidfd of the process that has this number and this start time; -1 when it is gone. */
int proc_open(pid_t pid, int64_t start_ticks);
int proc_signal(int pidfd, int signo); /* 0 or -errno */
Usec proc_age(int64_t start_ticks);    /* how long ago that was; counts suspended time */
void proc_boot_id(char out[static BOOT_ID_MAX]);

/* Kills every child of this process, and what those leave to us as a subreaper, until none is left or
   `patience` is over. False: something could not be killed in time. */
bool proc_kill_children(Usec patience);
/* Kills every process whose environment has the entry `mark` ("NAME=value"), again and again until two
   looks in a row find none, `looks` at most. Returns how many it killed. */
unsigned proc_kill_marked(const char *mark, unsigned looks);
