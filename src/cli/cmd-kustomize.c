#include "cmd.h"

#include <stdio.h>
#include "base/mem.h"
#include "kustomize.h"
#include "manifest-run.h"
#include "options.h"
#include "yaml/yaml.h"

/* Variables stay as they are written: what is printed may be stored, and tokens are not for that. */
static int cmd_kustomize(App *app, const Args *a, Err *err)
{
    CLEANUP_DOCS Docs docs = {0};
    const char *restrictor = opt_str(a, "load-restrictor");
    KustomizeOptions o = {.unrestricted = restrictor && *restrictor == 'n',
                          .no_base_selection = opt_bool(a, "no-base-selection"),
                          .strict = opt_bool(a, "strict")};
    int rc = kustomize_build(arg_at(a, 0) ? arg_at(a, 0) : ".", &o, &docs, err);
    CLEANUP_BUF Buf b = BUF_INIT(256 * 1024 * 1024);
    for (size_t i = 0; rc == 0 && i < docs.len; i++) {
        buf_addz(&b, i ? "---\n" : "");
        rc = yaml_write(&b, docs.ptr[i]->body, err);
    }
    if (rc == 0)
        fwrite(b.data ? b.data : "", 1, b.len, stdout);
    return rc;
}

static const Opt opts_kustomize[] = {
    OPT("load-restrictor", STR, "root (default) or none: files outside the tree", .values = "root none"),
    OPT("no-base-selection", BOOL, "files of a base under resources do not select from it"),
    OPT("strict", BOOL, "a patch that matches nothing is an error"),
    {0},
};

const Command commands_kustomize[] = {
    {.words = "kustomize",
     .usage = "[DIR]",
     .min = 0,
     .max = 1,
     .help = "Print the documents of a kustomization",
     .opts = opts_kustomize,
     .run = cmd_kustomize,
     .text =
         "Known are resources, bases, components, patches (by path or inline, strategic merge or JSON 6902, "
         "with "
         "targets), patchesStrategicMerge, patchesJson6902, namePrefix, nameSuffix, labels, commonLabels, "
         "commonAnnotations, configMapGenerator (as values for replacements; never applied) and "
         "replacements. "
         "Other members are an error.",
     .examples = "kustomize overlays/prod"},
    {0},
};
