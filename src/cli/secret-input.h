/* Secrets come from files, standard input, the environment or a prompt that does not show them; a literal on
 * the command line is taken with a warning and wiped from there. */
#pragma once

#include "command.h"
#include "base/secret.h"

typedef struct SecretInput {
    const char *opt;  /* "token": --token (-, @- = standard input), --token-file */
    const char *what; /* "token", for messages */
    const char *env;  /* variable that is looked at when no option was given; NULL = none */
    const char
        *prompt; /* asked, or read from standard input, when nothing was given; NULL = *ret stays NULL */
    bool whole;  /* all of the file or input, which may have several lines */
} SecretInput;
int secret_input(const Args *a, const SecretInput *in, Secret **ret, Err *err);
