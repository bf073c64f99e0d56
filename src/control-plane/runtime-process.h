/*
 * The runtime `process`: a runner is a child of a shim (shim.h), in a directory of its own below the root
 * (process-dir.h). Runners outlive the control plane; a new one finds them by their state files and takes
 * them over.
 */
#pragma once

#include "client/client.h"
#include "config.h"
#include "http/client.h"
#include "loop/loop.h"
#include "runtime.h"

typedef struct ProcessRuntime ProcessRuntime;

typedef struct ProcessOptions {
    const Config *config; /* borrowed, as all below */
    HttpClient *http;     /* for health checks */
    const char *program;  /* what runs as shim: "/proc/self/exe" */
} ProcessOptions;

/* Locks the root and takes over what lives there (or ends it, when adopting is off). */
int process_runtime_new(Loop *l, const ProcessOptions *o, ProcessRuntime **ret, Err *err);
ProcessRuntime *
process_runtime_free(ProcessRuntime *p); /* leaves the runners alone; NULL-safe, returns NULL */
Runtime *process_runtime(ProcessRuntime *p);
/* Tells runners that start from now on of the token endpoint; both texts are borrowed. */
void process_runtime_set_endpoint(ProcessRuntime *p, const char *url, const char *key);

/* Where the runner of a session listens, and the secret that it expects. False: none lives. */
/* Sessions whose outcome waits to be written down. */
size_t process_runtime_ended(const ProcessRuntime *p);
bool process_runtime_route(const ProcessRuntime *p, Str session_id, int64_t *ret_port,
                           const char **ret_token);
/* Asks every runner to stop and starts no other; done when none lives any more. */
void process_runtime_stop_all(ProcessRuntime *p, LoopFn done, void *arg);

typedef struct ProcessStats {
    size_t known, alive, adopted;
} ProcessStats;
void process_runtime_stats(const ProcessRuntime *p, ProcessStats *ret);
