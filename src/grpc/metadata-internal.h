/*
 * The header fields of one call in one block of memory. Values of the same name stay apart, in order; the
 * first one is the one that counts.
 */
#pragma once

#include "base/buf.h"

typedef struct Metadata {
    Buf data;      /* records: two uint32_t lengths, name, value */
    size_t listed; /* size as SETTINGS_MAX_HEADER_LIST_SIZE counts it */
    bool bad_base64;
} Metadata;

void metadata_init(Metadata *m, size_t max);
void metadata_done(Metadata *m);
/* Trims the value; decodes what has a name ending in "-bin". False when the list is now over its limit. */
bool metadata_add(Metadata *m, Str name, Str value);
Str metadata_get(const Metadata *m, const char *name); /* first value, ptr NULL when absent */
size_t metadata_count(const Metadata *m, const char *name);
