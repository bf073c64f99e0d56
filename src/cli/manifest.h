/*
 * Manifests: documents that people write about resources. Here they are read (files, directories, standard
 * input, several documents each) and brought into one shape, an Item: the members that the kind's table has,
 * whether the document was flat or had metadata and spec. Contract: cli.md 7 and 9.
 */
#pragma once

#include "base/vec.h"
#include "json/json.h"
#include "resource.h"

/* A kind that manifests may hold. Its members are those that its kind's table lets a client set. */
typedef struct ManifestRef {
    const char *member; /* as written: "agent"; the field's own name is accepted too */
    const char *field;  /* "agent_id" */
    const char *noun;   /* what it names: "agent" */
} ManifestRef;

typedef struct ManifestAlias {
    const char *member, *field; /* "source.path", "source_path" */
} ManifestAlias;

typedef struct ManifestKind {
    const char *name;            /* "Agent", the kind's name in its table */
    const char *noun;            /* of the resource: "agent" */
    const char *const *identity; /* fields that tell one from another, where there is no name; NULL = it */
    const ManifestRef *refs;     /* ended by {0}; NULL = none */
    const ManifestAlias *aliases;
    const char *const *ignored; /* members of other versions, read and left alone; ended by NULL */
    int order;                  /* applied in this order, deleted in the opposite one */
    bool inbox;                 /* may have an `inbox` of messages to leave */
} ManifestKind;

const ManifestKind *manifest_kinds(size_t *ret_n);
const ManifestKind *manifest_kind(Str name); /* case-insensitive; NULL = unknown */
bool manifest_kind_is_foreign(Str name);     /* a kind of other versions that is passed over with a word */
const Kind *manifest_table(const ManifestKind *k); /* NULL = this program has no such kind */

/* One document as it was read. Texts that the schema would take for numbers or booleans stay texts where a
   text is meant: names, labels, annotations, prompts. */
typedef struct Doc {
    json_t *body;   /* an object; owned */
    json_t *lines;  /* "spec.prompt" -> line; owned, NULL = unknown */
    char *origin;   /* "base/lead.yaml"; owned */
    char *dir;      /* of that file; NULL = standard input; owned */
    json_t *former; /* names that it had before a prefix or suffix; owned, NULL = none */
    bool local;     /* made here for replacements, never sent */
} Doc;

typedef struct Docs {
    Doc **ptr;
    size_t len, cap;
} Docs;

Doc *doc_new(json_t *body, const char *origin, const char *dir); /* takes body over */
Doc *doc_free(Doc *d);
DEFINE_CLEANUP(Doc, doc_free)
Doc *doc_dup(const Doc *d);
void docs_done(Docs *d);
#define CLEANUP_DOCS CLEANUP(docs_done)
void docs_add(Docs *d, Doc *one); /* takes over */

/* Where a document keeps its name, labels and annotations: metadata when it has one. */
Str doc_kind(const Doc *d);
Str doc_name(const Doc *d);
json_t *doc_meta(const Doc *d); /* the object that holds name, labels, annotations; borrowed */
json_t *doc_spec(const Doc *d); /* the object that holds the other members; borrowed */
char *doc_key(const Doc *d);    /* what makes it one of its kind: "agent/lead"; caller frees */
int doc_line(const Doc *d, const char *member); /* 0 = unknown */

/* Adds the documents of a text, of a file, of standard input ("-"), or of a directory's *.yaml, *.yml and
   *.json files in the order of their names (kustomization files are not read), with its subdirectories when
   `recursive`. Documents without a kind are passed over; a List is its items. */
int docs_parse(Docs *out, Str text, const char *origin, const char *dir, bool need_kind, Err *err);
int docs_load(Docs *out, const char *path, bool recursive, Err *err);
int path_failed(const char *path, int errnum, Err *err); /* ERR_NOT_FOUND for ENOENT */
int docs_load_file(Docs *out, const char *path, bool need_kind, Err *err);

typedef enum Validate { VALIDATE_STRICT, VALIDATE_WARN, VALIDATE_IGNORE } Validate;

typedef struct Item {
    const ManifestKind *kind;
    const Kind *table;
    char *name;     /* as it is shown: "lead", "alice\xE2\x86\x92<id>" for a binding */
    char *id;       /* NULL unless the document says it */
    char *project;  /* the document's own; NULL = none said */
    json_t *fields; /* by the table's names: strings, numbers, booleans, null; JSON texts as values */
    json_t *refs;   /* field -> name that is still to be made an id */
    json_t *inbox;  /* array or NULL */
    const Doc *doc; /* borrowed */
} Item;

/* expand: $NAME, ${NAME} and ${NAME:-default} as a whole value become the environment's value; ERR_USAGE when
   it is not set. Files named by <member>From are read in any case. */
int item_from_doc(const Doc *d, Validate validate, bool expand, Item **ret, Err *err);
Item *item_free(Item *it);
DEFINE_CLEANUP(Item, item_free)
