/* What a client's value must fulfil before it enters an Obj. Used by the JSON and the protobuf side alike. */
#pragma once

#include "kinds/obj.h"

/* May a client set this field in this mode? */
bool field_settable(const Field *f, ObjMode mode);
/* Text: length, UTF-8, "" rules, the field's check. */
int value_put_text(Obj *o, int field, ObjMode mode, Str s, Err *err);
/* The rules around null, and defaults. */
int value_put_null(Obj *o, int field, ObjMode mode, Err *err);
/* Numbers; -1 as "unset" where the table says so. */
int value_put_int(Obj *o, int field, ObjMode mode, int64_t v, Err *err);
int value_put_double(Obj *o, int field, ObjMode mode, double v, Err *err);
/* Times that RFC 3339 can write. */
int value_put_time(Obj *o, int field, WallUsec t, Err *err);
/* For OBJ_STATUS: the refusal of a body that sets nothing. */
int status_require_field(const Obj *o, Err *err);
