/* Options that several commands have, and the short ways to write rows of options. */
#pragma once

#include "command.h"

#define OPT(option, kind, text, ...)                                                                         \
    {                                                                                                        \
        .name = option, .type = OPT_##kind, .help = text, ##__VA_ARGS__                                      \
    }
#define OPT_ALIAS(option, of)                                                                                \
    {                                                                                                        \
        .name = option, .alias_of = of                                                                       \
    }

#define OPTS_OUTPUT                                                                                          \
    OPT("output", STR,                                                                                       \
        "output format: table, wide, json, yaml, name, jsonpath=TEMPLATE or custom-columns=TITLE:PATH",      \
        .letter = 'o', .values = "table wide json yaml name jsonpath= custom-columns=")
#define OPTS_NO_HEADERS OPT("no-headers", BOOL, "no header line in tables")
#define OPTS_LIMIT OPT("limit", INT, "at most so many items (0 = all)", .dflt = "0")
#define OPTS_YES OPT("yes", BOOL, "do not ask", .letter = 'y'), OPT_ALIAS("confirm", "yes")
#define OPTS_PROJECT                                                                                         \
    OPT("project-id", STR, "project (default: the current one)", .values = "PROJECT"),                       \
        OPT_ALIAS("project", "project-id")
#define OPTS_ENV OPT("env", LIST, "NAME=VALUE for the session's environment; may be repeated")
