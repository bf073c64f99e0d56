/*
 * From a manifest's item to requests: find the object as it is, compare field by field, send what differs.
 * Only a 404 means that there is none. Labels and annotations are merged three ways: what was applied last
 * time stands in the annotation ambient.io/last-applied, so that keys of others survive and keys that left
 * the manifest go. Contract: cli.md 7.3.
 */
#pragma once

#include "base/map.h"
#include "manifest.h"

#define LAST_APPLIED "ambient.io/last-applied"

typedef struct Applier {
    App *app;
    const char *project;     /* --project; NULL = not given */
    const char *set_project; /* the only Project document of the set; NULL = none or several */
    const char *context;     /* the current project; NULL = none */
    Map *coming;             /* "project/x": made by this set; read-only runs do not find them yet */
} Applier;

typedef struct Plan {
    const Item *item;
    const Resource *resource;
    char *project;           /* that the object is in; NULL = in none */
    char *collection, *path; /* path NULL = the object is not there */
    json_t *live;            /* NULL = not there */
    json_t *want;            /* fields, names replaced by ids */
    json_t *body;            /* of the POST or the PATCH; an empty object = nothing to change */
    json_t *inbox;           /* messages to leave; NULL = none */
} Plan;

int plan_new(Applier *ap, const Item *item, Plan **ret, Err *err); /* reads, never writes */
/* The same without a comparison: for deleting. */
int plan_find(Applier *ap, const Item *item, Plan **ret, Err *err);
Plan *plan_free(Plan *p);
DEFINE_CLEANUP(Plan, plan_free)
const char *plan_status(const Plan *p); /* "created", "configured", "unchanged": what executing it says */
int plan_execute(Applier *ap, Plan *p, Err *err);

/* merge.c: pure functions. */
json_t *wire_value(const Field *f,
                   const json_t *v); /* as the API takes it: JSON texts as text, keys sorted */
bool field_equal(const Field *f, const json_t *want, const json_t *live);
json_t *map_of_text(const json_t *v); /* labels as an object; an empty one for what is none */
/* Fields that differ between `want` and `live`, as the body of a PATCH. live NULL: the body of a POST. */
int merge_body(const Kind *k, const json_t *want, const json_t *live, json_t **ret, Err *err);
