/*
 * Settings of the programs that have no sub-sub-commands: one table per program with flag, environment
 * variable, type, default, secret mark and help. Precedence: flag, environment, default. Both --name=value
 * and --name value are read, one or two dashes; a bool is switched off by --name=false; the last one given
 * counts; `--` ends them. An empty environment variable is an unset one. `--help` and `-h` print the table on
 * standard output.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/secret.h"
#include "base/err.h"

typedef enum FlagType {
    FLAG_STRING,   /* char * (owned by the target, freed with flags_free) */
    FLAG_BOOL,     /* bool */
    FLAG_INT,      /* int64_t */
    FLAG_DURATION, /* Usec; Go syntax */
    FLAG_SIZE,     /* int64_t bytes; suffix k, M, G (1024) */
    FLAG_SECRET,  /* Secret *; never on argv: the flag and `dflt` take the name of a file, as does <env>_FILE;
                     <env>  has the value itself. A default file that does not exist leaves NULL */
    FLAG_IGNORED, /* accepted for compatibility; takes a value */
    FLAG_IGNORED_BOOL,
} FlagType;

typedef struct Flag {
    const char *name; /* without dashes; NULL = environment only */
    const char *env;  /* NULL = flag only */
    FlagType type;
    size_t offset; /* into the target struct */
    const char *dflt;
    const char *help; /* NULL = hidden */
    const char *value_name;
} Flag;

/* Fills target from the table (ended by {0} with name and env NULL), environment and argv[1..].
   Words that are no flags are an error unless `ret_args` takes them (borrowed from argv, NULL-ended, caller
   frees the array). ERR_USAGE names the flag and the rule. After --help was printed: -ERR_CANCELLED, main
   exits with 0. A call that failed leaves nothing in the target to free. */
int flags_parse(const Flag *table, void *target, int argc, char **argv, char ***ret_args, Err *err);
void flags_free(const Flag *table, void *target);
void flags_help(const Flag *table, FILE *out);
