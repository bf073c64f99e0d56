/* Lists as a person asks for them: -l, --field-selector, --search, --sort-by, --limit, --all-projects. */
#pragma once

#include "options.h"
#include "resource.h"

#define OPTS_SELECT                                                                                          \
    OPT("selector", STR, "labels: key=value, key!=value, key in (a,b), key, !key", .letter = 'l'),           \
        OPT("field-selector", STR, "members: member=value, member!=value"),                                  \
        OPT("search", STR, "search expression, e.g. \"phase = 'Running'\"")
#define OPTS_SORT                                                                                            \
    OPT("sort-by", STR, "a path, e.g. .created_at, or the server's order, e.g. \"created_at desc\"")

/* The collection at `path` narrowed and ordered by the options above. */
int list_selected(App *app, const Args *a, const Resource *r, const char *path, json_t **ret, Err *err);
/* The same where the resource lives; with --all-projects everywhere. */
int list_resource(App *app, const Args *a, const Resource *r, json_t **ret, Err *err);
/* What the arguments first..end name, or, with none, what -l, --field-selector or --all select: an array of
   objects. ERR_USAGE when neither is given. */
int list_named(App *app, const Args *a, const Resource *r, size_t first, size_t end, json_t **ret, Err *err);
