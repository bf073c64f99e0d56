/* URLs: parsing, percent-encoding, query building. RFC 3986. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

typedef struct Url {
    Str scheme, host, port, path, query; /* views into the parsed text; host without brackets */
    bool has_userinfo;
} Url;
int url_parse(Str text, Url *ret, Err *err); /* http and https only */
/* On this machine, or a Service of the cluster we are in: what goes there in plain HTTP is heard by nobody
 * else. */
bool url_is_near(const Url *u);
void url_escape_segment(Buf *b, Str s);              /* for one path segment: '/' becomes %2F */
void url_escape_query(Buf *b, Str s);                /* form encoding: space becomes + */
int url_unescape(Buf *b, Str s, bool plus_is_space); /* 0 or -1 on a bad escape */
