/*
 * acpctl's configuration: one JSON file with contexts. The active context also stands in the flat keys, so
 * that the reference's CLI can read the file; members that we do not know are kept. Written atomically, mode
 * 0600, under a lock. Contract: cli.md 2.
 */
#pragma once

#include "base/secret.h"
#include "json/json.h"

typedef struct Config Config;
typedef enum ConfigSource { CONFIG_UNSET, CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENV, CONFIG_FLAG } ConfigSource;

/* context NULL = AMBIENT_CONTEXT, else the file's current one. A missing file is an empty configuration. */
int config_load(const char *context, Config **ret, Err *err);
Config *config_free(Config *c);
DEFINE_CLEANUP(Config, config_free)
const char *config_path(const Config *c);
const char *config_context(const Config *c);
json_t *config_contexts(const Config *c); /* name -> object; borrowed */

/* Effective value: environment, then context, then flat key, then default; NULL when unset. */
const char *config_get(const Config *c, const char *key, ConfigSource *ret_source);
int64_t config_get_int(const Config *c, const char *key);
bool config_get_bool(const Config *c, const char *key);
bool config_has_file_token(const Config *c);

/* Changes are made in memory and written by config_save(): under the file's lock, on top of what other
   commands wrote meanwhile. value NULL removes. */
void config_set(Config *c, const char *key, const char *value);
void config_set_bool(Config *c, const char *key, bool value);
int config_use_context(Config *c, const char *name, bool create, Err *err);
int config_rename_context(Config *c, const char *from, const char *to, Err *err);
int config_delete_context(Config *c, const char *name, Err *err);
int config_save(Config *c, Err *err);
/* What other commands wrote meanwhile; changes that are not saved yet stay. */
int config_reload(Config *c, Err *err);

/* Known keys, ended by NULL, and whether a key is a secret. */
extern const char *const config_keys[];
bool config_key_known(const char *key);
