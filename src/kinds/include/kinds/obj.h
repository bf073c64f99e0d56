/*
 * Obj: one object of a kind, a value per field of its table with presence kept apart from the value. The Obj
 * owns its strings. Not shared between threads without a hand-over.
 */
#pragma once

#include "base/buf.h"
#include "base/clock.h"
#include "json/json.h"
#include "kinds/kind.h"
#include "pb/pb.h"

typedef enum ValueState { V_ABSENT, V_NULL, V_SET } ValueState;

typedef struct Value {
    ValueState state;
    union {
        char *str; /* owned, NUL-terminated */
        int64_t i; /* FT_INT32, FT_INT64 */
        double d;
        bool b;
        WallUsec t;
    };
    size_t len; /* of str */
} Value;

typedef struct Obj {
    const Kind *kind;
    Value v[]; /* kind->n_fields */
} Obj;

Obj *obj_new(const Kind *k);
Obj *obj_free(Obj *o); /* NULL-safe, returns NULL */
DEFINE_CLEANUP(Obj, obj_free)
Obj *obj_dup(const Obj *o);

typedef struct ObjList {
    Obj **ptr; /* owned */
    size_t len, cap;
    int64_t page, total; /* of the query that made it */
} ObjList;
void obj_list_done(ObjList *l);

bool obj_has(const Obj *o, int field);         /* V_SET */
Str obj_str(const Obj *o, int field);          /* STR_NULL unless V_SET */
const char *obj_cstr(const Obj *o, int field); /* "" unless V_SET */
int64_t obj_int(const Obj *o, int field, int64_t dflt);
double obj_double(const Obj *o, int field, double dflt);
bool obj_bool(const Obj *o, int field, bool dflt);
WallUsec obj_time(const Obj *o, int field); /* {0} unless V_SET */
Phase obj_phase(const Obj *session);
void obj_set_str(Obj *o, int field, Str s); /* copies */
void obj_set_int(Obj *o, int field, int64_t v);
void obj_set_double(Obj *o, int field, double v);
void obj_set_bool(Obj *o, int field, bool v);
void obj_set_time(Obj *o, int field, WallUsec t);
void obj_set_null(Obj *o, int field);
void obj_clear(Obj *o, int field); /* V_ABSENT */
bool obj_value_equal(const Obj *a, const Obj *b, int field);
/* Presence included; the fields may be of different kinds, their types are the same. */
void obj_copy_value(Obj *to, int field, const Obj *from, int from_field);
/* Overlays every V_SET and V_NULL value of `patch` onto `o`; says whether anything changed. */
bool obj_apply(Obj *o, const Obj *patch);

typedef enum ObjMode { OBJ_CREATE, OBJ_PATCH, OBJ_STATUS } ObjMode;

/* A request body into an Obj. CREATE: unknown property, missing required key, non-empty id and wrong types
   are refused in the reference's words (rest-core.md 2.1); read-only properties are ignored; "null" as body
   is refused; a property sent as null (or "" with F_EMPTY_NULL) becomes V_NULL, so that "sent" stays visible.
   PATCH: unknown and read-only properties are ignored, null clears (a field with a default takes it again),
   null for a required field is refused; the body null is an empty patch. STATUS: only F_STATUS fields, at
   least one. Strings are checked: UTF-8, no NUL, max_len, check(). Case-insensitive names as Go decodes them.
 */
int obj_from_json(const Kind *k, ObjMode mode, const json_t *body, Obj **ret, Err *err);
int obj_from_json_text(const Kind *k, ObjMode mode, Str text, Obj **ret, Err *err);
/* An answer of our API (all fields, ids and times included) into an Obj: for our own clients. Unknown keys
 * ignored. */
int obj_from_answer(const Kind *k, const json_t *body, Obj **ret, Err *err);
/* Defaults, then the rules that need the whole object (required not empty, lengths). A session without a name
   is not refused here: the caller names it once it has an id. */
int obj_finish_create(Obj *o, Err *err);

/* Keys in alphabetical order, nulls omitted, with `href` and `kind`. A mask (NULL = show all) has a bool per
   field and one each for href and kind. */
#define MASK_LEN(k) ((k)->n_fields + 2)
#define MASK_HREF(k) ((k)->n_fields)
#define MASK_KIND(k) ((k)->n_fields + 1)
void obj_to_json(const Obj *o, Buf *out, const bool *mask);
/* {"items":[...],"kind":"XList","page":..,"size":..,"total":..} */
void obj_list_to_json(const Kind *k, const ObjList *l, Buf *out, const bool *mask);
/* `fields` parameter: comma list into a mask (caller frees), id always shown; blank text gives NULL.
   ERR_INVALID names what does not exist. */
int field_mask_parse(const Kind *k, Str text, bool **ret, Err *err);

/* Protobuf by field name through protobuf-c's descriptors. Values absent in the Obj stay unset. `metadata`
   (ObjectReference) is filled when the message has one. The message is allocated with protobuf-c's allocator:
   free with protobuf_c_message_free_unpacked. */
int obj_to_pb(const Obj *o, const ProtobufCMessageDescriptor *d, ProtobufCMessage **ret, Err *err);
/* A request message; only fields that `mode` lets a client set are taken. */
int obj_from_pb(const Kind *k, ObjMode mode, const ProtobufCMessage *msg, Obj **ret, Err *err);
/* A resource message of the API (Session, Project, ...) into an Obj, metadata included: for our own clients.
 */
int obj_from_pb_resource(const Kind *k, const ProtobufCMessage *msg, Obj **ret, Err *err);
