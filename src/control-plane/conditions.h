/*
 * The conditions of a session: JSON text of an array of {type, status, reason, message, lastTransitionTime},
 * as Kubernetes has them. A type appears once; its time changes with its status only, so that writing the
 * same thing again changes nothing.
 */
#pragma once

#include <stdbool.h>
#include "base/buf.h"
#include "base/clock.h"
#include "json/json.h"

typedef struct Conditions {
    json_t *list;
    char now[RFC3339_MAX];
    bool changed;
} Conditions;

/* From a session's present text; text that is no such array counts as empty. */
void conditions_init(Conditions *c, Str text, WallUsec now);
void conditions_done(Conditions *c);
#define CLEANUP_CONDITIONS CLEANUP(conditions_done)

void conditions_set(Conditions *c, const char *type, bool status, const char *reason, const char *message);
bool conditions_has(const Conditions *c, const char *type);
void conditions_write(const Conditions *c, Buf *out); /* the text */
