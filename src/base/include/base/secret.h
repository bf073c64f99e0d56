/*
 * A secret value. It has no printf format and no JSON writer, is erased when freed, excluded from core dumps
 * where the kernel allows, and compared in constant time. secret_reveal() is the one greppable place that
 * reads it.
 */
#pragma once

#include <stdbool.h>
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

typedef struct Secret Secret;

Secret *secret_new(Str value);
Secret *secret_free(Secret *s); /* NULL-safe, returns NULL */
DEFINE_CLEANUP(Secret, secret_free)
/* First line of a file, white space trimmed, at most 64 KiB; refuses a file that others may write. */
int secret_from_file(const char *path, Secret **ret, Err *err);
Secret *secret_from_env(const char *name);          /* NULL when unset or empty */
bool secret_equals(const Secret *s, Str candidate); /* constant time; NULL or empty secret equals nothing */
bool secret_is_empty(const Secret *s);              /* true for NULL */
Str secret_reveal(const Secret *s);                 /* borrowed until secret_free */
void secret_erase(void *p, size_t len);             /* explicit_bzero */
