/*
 * One session's runner: follows the session's messages, gives them to the agent one after the other, and
 * brings what the agent does into the session's log and to those who watch. Everything happens on the loop's
 * thread.
 */
#pragma once

#include "config.h"
#include "loop/loop.h"
#include "bridge.h"
#include "repos.h"
#include "run-input.h"
#include "tap.h"

typedef enum RunnerExit {
    EXIT_OK = 0,
    EXIT_START = 1,        /* wrong settings, or it could not start */
    EXIT_AGENT_ERROR = 10, /* one-shot: the last run failed */
    EXIT_TIMEOUT = 11,     /* TIMEOUT passed */
    EXIT_NO_AGENT = 13,
    EXIT_UNDELIVERED = 14, /* records could not be brought into the log; they are in the journal */
} RunnerExit;

typedef struct Runner Runner;
int runner_new(Loop *l, RunnerConfig *c, Runner **ret, Err *err);
Runner *runner_free(Runner *r);        /* kills what still runs; NULL-safe */
void runner_terminate(Runner *r);      /* SIGTERM: a clean end; called again: at once */
int runner_exit_code(const Runner *r); /* once the loop was stopped */

/* For the HTTP interface. */
const RunnerConfig *runner_config(const Runner *r);
Tap *runner_tap(Runner *r);
bool runner_ready(const Runner *r); /* the log is read, messages are being worked on */
bool runner_has_agent(const Runner *r);
void runner_enqueue(Runner *r, RunInput *in); /* takes the input over */
void runner_interrupt(Runner *r, bool drop_queued);
const char *runner_framework(const Runner *r);
bool runner_persists(const Runner *r);
Workspace *runner_workspace(const Runner *r);
Repos *runner_repos(const Runner *r);
bool runner_busy(const Runner *r);                   /* a run is active */
Bridge *runner_bridge(const Runner *r);              /* NULL = no agent */
void runner_set_model(Runner *r, const char *model); /* for what starts from now on; tells it */
void runner_workflow_changed(Runner *r);
void runner_repos_changed(Runner *r); /* the session's log is told how they are now */
/* What the agent is told in front of its next message; takes the text over. */
void runner_note(Runner *r, char *text);
bool runner_feedback(Runner *r, Str payload); /* false: there is no log to keep it in */
