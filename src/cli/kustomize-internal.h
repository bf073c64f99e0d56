/* What the parts of kustomize share. Only for kustomize*.c. */
#pragma once

#include "kustomize.h"

typedef struct Builder {
    const KustomizeOptions *o;
    char *root; /* of the repository that the first directory is in; NULL = in none */
    VEC_OF(char *)
    stack; /* directories that are being built, canonical */
    VEC_OF(char *)
    seen; /* and all that have been: their files may be read */
} Builder;

/* One kustomization file while it is built. */
typedef struct Layer {
    Builder *b;
    const char *dir;   /* canonical, borrowed */
    const json_t *doc; /* scalars as written */
    char *file;        /* for messages */
    Docs *docs;
} Layer;

/* A path of a kustomization made canonical and checked; caller frees. */
int layer_path(Layer *l, const char *name, bool *ret_is_dir, char **ret, Err *err);
int layer_read(Layer *l, const char *name, Buf *out, Err *err); /* a file that it names */
const char *path_shown(const char *path); /* relative to the working directory if inside */
void layer_note(const Layer *l, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Selection of documents: kind and name are anchored regular expressions, group and version too. */
typedef struct Target Target;
int target_new(const json_t *spec, Target **ret, Err *err);
Target *target_free(Target *t);
DEFINE_CLEANUP(Target, target_free)
bool target_matches(const Target *t, const Doc *d);
/* Names that the document has or had: a patch may still use what a base called it. */
bool doc_has_name(const Doc *d, const char *name);

/* kustomize-merge.c */
void merge_strategic(json_t *into, const json_t *patch);
int patch_json(json_t *doc, const json_t *operations, Err *err);
json_t *patch_in_shape(const Doc *target, const json_t *patch); /* flat or nested, as the target is */

int layer_patch_strategic(Layer *l, Err *err); /* patchesStrategicMerge and patches */
int layer_patch_json(Layer *l, Err *err);      /* patchesJson6902 */
int layer_generate(Layer *l, Err *err);        /* configMapGenerator */
int layer_rename(Layer *l, Err *err);          /* namePrefix, nameSuffix */
int layer_label(Layer *l, Err *err);           /* labels, commonLabels, commonAnnotations */
int layer_replace(Layer *l, Err *err);         /* replacements */
