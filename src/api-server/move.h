/* The commands `export` and `import`: a whole installation from one database to another. */
#pragma once

#include "base/err.h"
#include "config.h"

/* To --file, or to standard output. A file that an earlier export of the same store began is gone on with. */
int move_export(const Config *c, Err *err);
/* From --file, or from standard input. 0, or 1 when a chain of messages does not fit afterwards. */
int move_import(const Config *c, Err *err);
