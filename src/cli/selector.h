/* Selections that a person writes: labels ("env=prod,tier!=db,team in (a,b),canary,!old") and fields
   ("phase=Running,name!=x"). They are checked here and matched against the objects of an answer. */
#pragma once

#include "json/json.h"

typedef struct Selector Selector;
int selector_parse(const char *text, bool labels, Selector **ret,
                   Err *err); /* ERR_USAGE names the bad term */
Selector *selector_free(Selector *s);
DEFINE_CLEANUP(Selector, selector_free)
/* labels: against the object's `labels`, JSON in a text; fields: against its members, "a.b" goes inside. */
bool selector_matches(const Selector *s, const json_t *obj); /* NULL matches everything */
