/*
 * Kustomizations: the subset of kustomize that makes sense for our documents, with its meaning, and its
 * errors where the rest is asked for. Contract: cli.md 8.
 */
#pragma once

#include "manifest.h"

typedef struct KustomizeOptions {
    bool unrestricted;      /* files outside the tree */
    bool no_base_selection; /* a base's file under resources does not select from the base */
    bool strict;            /* a patch whose target is not there is an error */
} KustomizeOptions;

/* Adds the documents that the kustomization in `dir` makes. Warnings and notes go to stderr. */
int kustomize_build(const char *dir, const KustomizeOptions *o, Docs *out, Err *err);
