/* Kinds as the command line knows them: names, where they live, how a name becomes an id. */
#pragma once

#include "app.h"
#include "kinds/kind.h"

typedef struct Resource {
    const char *noun;    /* "session" */
    const char *plural;  /* "sessions" */
    const char *aliases; /* blank separated */
    const Kind *kind;
    const char *collection; /* path; "%s" takes the project: "/projects/%s/agents" */
    bool in_project;        /* has a project in its path */
    bool scoped;            /* its list is narrowed by the current project */
    bool id_is_name;
} Resource;

const Resource *resource_at(size_t i);           /* each in turn; NULL behind the last */
const Resource *resource_find(const char *word); /* any spelling, case-insensitive; NULL when unknown */
int resource_need(const char *word, const Resource **ret, Err *err); /* "unknown resource type: x" */
const char *resource_columns(const Resource *r);                     /* for print_list */

/* Collection path with the project filled in; caller frees. */
int resource_path(App *app, const Resource *r, char **ret, Err *err);

/* The object a person means by `name`: by id when it looks like one, else by exact name, else by unique id
   prefix. Several of that name: an error that lists their ids. */
int resource_get(App *app, const Resource *r, const char *name, json_t **ret, Err *err);
/* The same, and its path "/sessions/<id>" for further calls. */
int resource_resolve(App *app, const Resource *r, const char *name, char **ret_path, json_t **ret, Err *err);
