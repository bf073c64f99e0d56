/*
 * The shim: parent of one runner, alive as long as the runner is, whatever becomes of the control plane. It
 * is the control plane's own program in another mode: `ambient-control-plane shim SESSION RUN`, with its spec
 * on standard input (shim-spec.h) and its answer on standard output. It
 *   - makes sure that a run is started at most once (a lock, and the state file, written before the program
 * runs),
 *   - collects the output in a rotated log,
 *   - on SIGTERM ends the runner with a grace, on SIGUSR1 at once,
 *   - adopts what the runner leaves behind (subreaper), kills it, and then writes down how the runner ended.
 * The runner dies with its shim (parent-death signal).
 */
#pragma once

int shim_main(int argc, char **argv); /* does not use the arguments; they are for people who read ps */
