/* One run over the documents that -f and -k name: apply, diff, create and delete share it. */
#pragma once

#include "apply.h"
#include "output.h"

#define OPTS_MANIFESTS                                                                                       \
    OPT("filename", LIST, "file, directory or - with manifests; may be repeated", .letter = 'f',             \
        .values = "FILE"),                                                                                   \
        OPT("kustomize", STR, "directory with a kustomization file", .letter = 'k', .values = "DIR"),        \
        OPT("recursive", BOOL, "-f: with subdirectories", .letter = 'R'),                                    \
        OPT("load-restrictor", STR, "-k: root (default) or none: files outside the tree",                    \
            .values = "root none"),                                                                          \
        OPT("no-base-selection", BOOL, "-k: files of a base under resources do not select from it"),         \
        OPT("strict", BOOL, "-k: a patch that matches nothing is an error"),                                 \
        OPT("validate", STR, "unknown members: strict (default), warn or ignore",                            \
            .values = "strict warn ignore"),                                                                 \
        OPT("ignore-unknown", BOOL, "pass over kinds that are not known"),                                   \
        OPT("fail-fast", BOOL, "stop at the first failure")

typedef struct Work {
    const Doc *doc;
    Item *item; /* NULL when the document is wrong: err */
    Err err;
    int order;
} Work;

typedef struct Run {
    App *app;
    const Args *args;
    Docs docs;
    VEC_OF(Work)
    works;
    Applier applier;
    char *set_project;
    bool dry;        /* nothing is written */
    json_t *results; /* for -o json; NULL = lines */
    Map *kept;       /* ids of what is in the manifests */
} Run;

/* Reads the documents that the options name and brings them into order. expand: values of the environment. */
int run_init(Run *run, App *app, const Args *a, bool expand, Err *err);
void run_done(Run *run);
void run_reverse(Run *run);
bool manifests_given(const Args *a); /* -f or -k */
int manifests_load(const Args *a, Docs *out, Err *err);

typedef int (*RunStep)(Run *run, Work *w, Err *err);
/* Every document; failures are told on stderr and the others go on. One document's failure is the error
   itself. */
int run_all(Run *run, const char *verb, RunStep step, Err *err);
void run_report(Run *run, const Work *w, const char *project, const char *status); /* "agent/lead created" */
void run_keep(Run *run, const char *id);
int run_prune(Run *run, Err *err);
char *work_name(const Work *w); /* "agent/lead"; caller frees */
