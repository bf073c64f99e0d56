/*
 * The session's repositories and its workflow: what is cloned where, and how far it is. Those of the
 * configuration are cloned at start, one after the other; nothing is given to the agent before that ended,
 * well or not. More come and go while the session runs. A clone is made beside its place and moved there when
 * it is whole.
 *
 *   repos/<name>       WAITING -> CLONING -> READY | FAILED
 *   workflows/<name>   the same; a new one takes the place of the old
 */
#pragma once

#include "config.h"
#include "json/json.h"
#include "loop/loop.h"
#include "workspace.h"

typedef enum RepoState { REPO_WAITING, REPO_CLONING, REPO_READY, REPO_FAILED } RepoState;

typedef struct Repo {
    char *url, *branch, *name; /* branch NULL = the remote's own */
    char *sub_path;            /* of a workflow; NULL = none */
    bool auto_push, is_workflow;
    RepoState state;
    char *current, *dflt; /* branches, as they are; NULL = not known */
    char *error;
    WallUsec cloned_at;
} Repo;

typedef struct ReposOps {
    void (*on_settled)(void *arg);                  /* nothing is being cloned any more */
    void (*on_notice)(void *arg, const char *text); /* for the session's log */
} ReposOps;

typedef struct Repos Repos;
/* Reads the configuration; what is wrong in it is told by on_notice when repos_start() runs. */
Repos *repos_new(Loop *l, const RunnerConfig *c, Workspace *w, const ReposOps *ops, void *arg);
Repos *repos_free(Repos *r); /* cancels what runs, without callbacks; NULL-safe */
void repos_start(Repos *r);
bool repos_settled(const Repos *r);

/* One repository's clone has ended: newly cloned, there already, or (error) not. */
typedef void (*RepoDone)(void *arg, const Repo *repo, bool newly, const char *error);
/* 0: done comes later. Negative: refused at once. name may be empty: that of the URL. */
int repos_add(Repos *r, Str url, Str branch, Str name, RepoDone done, void *arg, Err *err);
int repos_set_workflow(Repos *r, Str url, Str branch, Str sub_path, RepoDone done, void *arg, Err *err);
/* Nobody wants to hear of it any more: done is not called for this arg. */
void repos_forget(Repos *r, void *arg);
int repos_remove(Repos *r, Str name, Err *err); /* an unknown one is fine */

size_t repos_count(const Repos *r);
const Repo *repos_at(const Repos *r, size_t i);
const Repo *repos_workflow(const Repos *r); /* NULL = none */
/* {url, name, status, branches (empty), currentActiveBranch, defaultBranch, clonedAt?, path?, error?} */
json_t *repo_json(const Repo *x);
/* Where the agent works: the workflow, the first repository, or the workspace. Caller frees. */
char *repos_agent_dir(const Repos *r);
/* What the agent is told of them; nothing when there are none. */
void repos_describe(const Repos *r, Buf *out);
