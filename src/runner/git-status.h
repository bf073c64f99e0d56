/* What `git status` and `git diff --numstat` say, counted. */
#pragma once

#include "json/json.h"

typedef struct GitStatus {
    char *branch;
    json_t *modified, *staged, *untracked; /* arrays of paths */
    int64_t added, removed;                /* files */
    int64_t files;                         /* with changes of any kind */
    int64_t lines_added, lines_removed;
} GitStatus;

void git_status_init(GitStatus *s);
void git_status_done(GitStatus *s);
void git_status_read(GitStatus *s, Str porcelain_v2_z);
void git_status_count(GitStatus *s, Str numstat_z);
