/* Shared by the files of the launcher. */
#pragma once

#include <sys/types.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/secret.h"
#include "json/json.h"
#include "loop/loop.h"

typedef struct Options {
    char *data;   /* --data DIR; NULL = default */
    char *http;   /* --http ADDR */
    char *grpc;   /* --grpc ADDR */
    char *output; /* -o text|json */
    bool foreground;
    bool detach;
    bool no_login;
    bool follow;
    bool keep_sessions;
    int64_t lines;
    char **args; /* words that are no flags; NULL-ended, may be NULL */
} Options;

/* ---- place.c: the data directory ---- */

typedef struct Place {
    char *dir, *run_dir, *log_dir, *sessions_dir;
    char *db, *token, *keyring, *service_token, *lock, *state;
    char *bin_dir; /* where this program lies, and so the others; NULL = unknown */
} Place;

/* Paths only; nothing is made. called_as is argv[0]; dir NULL = $XDG_DATA_HOME/ambient or
 * ~/.local/share/ambient. */
int place_init(Place *p, const char *called_as, const char *dir, Err *err);
void place_done(Place *p);
int place_make(const Place *p, Err *err); /* makes the directories 0700 and the two tokens 0600 */
int place_lock(const Place *p, int *ret_fd, Err *err); /* ERR_CONFLICT: a supervisor is running */
bool place_is_running(const Place *p);                 /* somebody holds the lock */
char *place_run_file(const Place *p, const char *name,
                     const char *suffix); /* DIR/run/NAME.SUFFIX, caller frees */
char *place_log_file(const Place *p, const char *name);
/* Beside this program, else the bare name for PATH; caller frees. */
char *program_path(const Place *p, const char *name);

/* state.json: what `status` and the tests read. */
typedef struct State {
    char http[128], grpc[128];                   /* "127.0.0.1:8000" */
    pid_t supervisor, api_server, control_plane; /* 0 = not running now */
    unsigned restarts_api_server, restarts_control_plane;
    WallUsec started_at;
} State;
/* The time between two looks at something that another process changes and nobody tells about. */
void look_again_in(Usec t);
int state_save(const Place *p, const State *s, Err *err);
int state_load(const Place *p, State *ret, Err *err);

/* ---- supervise.c ---- */

/* Runs the platform until SIGTERM or SIGINT; the lock is held by the caller. Writes to ready_fd one line:
   "ok\n" when both programs answer, or an error text when they cannot be started. ready_fd is closed then; -1
   = none. */
int supervise(const Place *p, const Options *o, int ready_fd, Err *err);

/* ---- logfile.c ---- */

/* Copies what a child writes into DIR/logs/NAME.log (10 MiB, three kept); with `tee` also to standard error
   with the name in front. Takes over the descriptor. */
typedef struct LogFile LogFile;
int logfile_new(Loop *l, const Place *p, const char *name, int fd, bool tee, LogFile **ret, Err *err);
LogFile *logfile_free(LogFile *f);
Str logfile_tail(const LogFile *f); /* the last lines, for error messages */

/* ---- login.c ---- */

/* acpctl's configuration; NULL when nothing says where it is. It holds a token. */
char *login_config_path(void);
/* Adds or updates context "local" in acpctl's configuration and makes it current. Says so on out. */
int login_write(const Place *p, const State *s, FILE *out, Err *err);

/* ---- commands ---- */

int cmd_up(const Place *p, const Options *o, Err *err);
int cmd_down(const Place *p, const Options *o, Err *err);
int cmd_status(const Place *p, const Options *o, Err *err);
int cmd_logs(const Place *p, const Options *o, Err *err);
int cmd_token(const Place *p, const Options *o, Err *err);
