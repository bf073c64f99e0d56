/*
 * Commands are data: a row says the words, the arguments, the options, what it does, examples, exit statuses
 * and the function. Parsing, help, did-you-mean, completion, manual pages and the reference in Markdown read
 * the rows. A cmd-*.c file exports its rows as one array; commands.c lists the arrays. Options follow GNU's
 * habits: long and short, --f=v, --f v, -ov, bundled short switches, options and arguments in any order, --
 * ends options.
 */
#pragma once

#include <stdio.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"

typedef enum OptType {
    OPT_STR,
    OPT_BOOL,
    OPT_INT,
    OPT_FLOAT,
    OPT_DURATION,
    OPT_LIST /* may be repeated */
} OptType;

typedef struct Opt {
    const char *name; /* without dashes */
    char letter;      /* 0 = none */
    OptType type;
    const char *dflt;
    const char *bare;     /* value when given without one: --dry-run; then a value comes only behind '=' */
    const char *help;     /* NULL = hidden */
    const char *alias_of; /* another name for that option */
    /* What completion offers as its value: words, or one of the names in capitals that usages have (PROJECT,
       AGENT, FILE ...). NULL = nothing is known. */
    const char *values;
} Opt;

typedef struct App App;
typedef struct Args Args;

typedef struct Command {
    const char *words;   /* "agent start" */
    const char *aliases; /* of the last word, blank separated; NULL = none */
    /* The arguments: "[NAME]". A word in capitals also says what completion offers: RESOURCE, NAME (of that
       RESOURCE), SESSION, AGENT, PROJECT, CONTEXT, FILE, DIR ... (complete.c). */
    const char *usage;
    unsigned min, max; /* number of arguments; COMMAND_MANY = any */
    const char *help;  /* one line; NULL = hidden */
    const Opt *opts;   /* ended by {0}; NULL = none. The root options come with every command */
    int (*run)(App *app, const Args *args, Err *err); /* NULL = a group: prints its help */
    const char *text;     /* further paragraphs for --help and the manual; NULL = none */
    const char *examples; /* command lines without "acpctl ", one a line, "# ..." before one says why */
    bool paged;           /* its output may be long: the person's pager shows it */
    const char *exits;    /* statuses with a meaning of their own, one a line: "1 they differ"; NULL = none */
} Command;
#define COMMAND_MANY 1000u

/* The tables of the program, ended by NULL, each ended by {0}: a group before its commands, in the order of
   the help. */
extern const Command *const command_tables[];
extern const Opt root_opts[];

/* Every command. `break` ends the commands of one table only: leave by return. */
#define COMMAND_FOREACH(c)                                                                                   \
    for (const Command *const *table_ = command_tables; *table_; table_++)                                   \
        for (const Command *c = *table_; c->words; c++)

/* Exit statuses that every command may have, for help and manuals; ended by text NULL. */
typedef struct ExitStatus {
    int status;
    const char *text;
} ExitStatus;
extern const ExitStatus exit_statuses[];

/* Finds the command for argv[1..] and parses what is behind it. Prints help when asked to (then *ret_cmd
 * NULL). */
int args_parse(int argc, char **argv, const Command **ret_cmd, Args **ret, Err *err);
Args *args_free(Args *a);
DEFINE_CLEANUP(Args, args_free)

size_t args_len(const Args *a);
const char *arg_at(const Args *a, size_t i); /* NULL beyond the end */
bool opt_given(const Args *a, const char *name);
const char *opt_str(const Args *a, const char *name); /* the default or NULL */
bool opt_bool(const Args *a, const char *name);
int64_t opt_int(const Args *a, const char *name);
double opt_float(const Args *a, const char *name);
Usec opt_duration(const Args *a, const char *name);
size_t opt_list(const Args *a, const char *name, const char *const **ret); /* values of an OPT_LIST */

void command_help(const Command *c, FILE *out); /* NULL = the root's */
const Command *command_find(const char *words);
bool command_is_known(const char *word); /* a first word, by name or alias, or an option */
/* Number of letters to change, add or remove; 99 for words of more than 32. */
size_t word_distance(const char *a, const char *b);
/* The option behind a word of the command line ("--name", "--name=x", "-n"), NULL when there is none. */
const Opt *command_opt(const Command *c, const char *word);
const Command *command_child(const Command *parent,
                             const char *word); /* by name or alias; parent NULL = the root */

/* What may stand next, for completion: one word a line. `values` adds the words for a type that usages and
   options name in capitals (AGENT, PROJECT ...); words[0..n] are the arguments before it. It may be NULL. */
typedef struct Completion {
    const char *type, *prefix;
    const char *const *words;
    size_t n_words;
    const char *project, *context; /* as the words before say; NULL = as always */
    FILE *out;
} Completion;
void command_complete(int argc, char **argv, FILE *out, void (*values)(const Completion *c));
