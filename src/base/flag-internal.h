/* Reading one value into its place; flag.c walks the command line and the environment. */
#pragma once

#include "base/flag.h"

typedef enum FlagSource { FLAG_FROM_DEFAULT, FLAG_FROM_ENV, FLAG_FROM_FILE_ENV, FLAG_FROM_ARGV } FlagSource;

int flag_parse_bool(Str s, bool *ret);
int flag_parse_size(Str s, int64_t *ret);
/* 0, or -1 and the rule that the value breaks, as a sentence without its subject. */
int flag_set(const Flag *flag, void *target, const char *value, FlagSource source, const char **ret_rule);
void flag_clear(const Flag *flag, void *target); /* frees what it owns */
void flag_zero(const Flag *flag, void *target);  /* the target is uninitialised memory before */
