/* Programs called acpctl-NAME on the PATH are commands: `acpctl NAME ARGS...` runs them when there is no
   command of that name. */
#pragma once

#include "command.h"

/* Runs the plugin for argv and does not come back when there is one; else, or when it cannot be started,
   returns: then the words are wrong in the ordinary way. For `acpctl foo bar` acpctl-foo-bar is looked for
   first. */
void plugin_run(int argc, char **argv);
/* Calls each for every plugin on the PATH, the first of a name only. */
void plugin_each(void (*each)(void *arg, const char *name, const char *path), void *arg);
