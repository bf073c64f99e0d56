/* Values to and from PostgreSQL's binary formats; each parameter as the type that the server gave it. */
#include "pg-internal.h"

#include <arpa/inet.h>
#include <endian.h>
#include "base/mem.h"

/* pg_type.dat; these numbers never change. */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_NAME = 19,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_VARCHAR = 1043,
    OID_TIMESTAMP = 1114,
    OID_TIMESTAMPTZ = 1184,
    OID_JSONB = 3802,
};
#define EPOCH_2000 INT64_C(946684800000000) /* microseconds since 1970 of PostgreSQL's own epoch */

/* ---- parameters ---- */

static void put(PgParams *p, const void *at, size_t len, int format)
{
    vec_push(&p->values, at);
    vec_push(&p->lengths, (int)len);
    vec_push(&p->formats, format);
    p->bytes += len;
}

/* The last `len` bytes of a word in network order. */
static void put_number(PgParams *p, uint64_t v, size_t len)
{
    vec_push(&p->words, htobe64(v));
    const char *at = (const char *)&p->words.ptr[p->words.len - 1];
    put(p, at + sizeof(uint64_t) - len, len, 1);
}

static int put_int(PgParams *p, Oid type, int64_t v, Err *err)
{
    if ((type == OID_INT4 && (v < INT32_MIN || v > INT32_MAX)) ||
        (type == OID_INT2 && (v < INT16_MIN || v > INT16_MAX)))
        return err_set(err, ERR_INVALID, "the number %lld is too large", (long long)v);
    put_number(p, (uint64_t)v, type == OID_INT4 ? 4 : type == OID_INT2 ? 2 : 8);
    return 0;
}

static void put_double(PgParams *p, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    put_number(p, bits, 8);
}

static bool is_text(Oid type)
{
    return type == OID_TEXT || type == OID_VARCHAR || type == OID_NAME;
}

/* A type that has no format of ours: as text, which the server reads. */
static void put_text(PgParams *p, Str s)
{
    char *copy = str_dup(s);
    vec_push(&p->texts, copy);
    put(p, copy, s.len, 0);
}

static int put_value(PgParams *p, Oid type, SqlValue v, Err *err)
{
    switch (v.type) {
    case SQL_NULL:
        put(p, NULL, 0, 1);
        return 0;
    case SQL_INT:
        if (type == OID_FLOAT8)
            put_double(p, (double)v.i);
        else
            return put_int(p, type, v.i, err);
        return 0;
    case SQL_DOUBLE:
        put_double(p, v.d);
        return 0;
    case SQL_BOOL:
        put_number(p, v.b, type == OID_BOOL ? 1 : type == OID_INT4 ? 4 : 8);
        return 0;
    case SQL_TIME:
        put_number(p, (uint64_t)(v.t.us - EPOCH_2000), 8);
        return 0;
    case SQL_TEXT:
        if (is_text(type))
            put(p, v.s.ptr ? v.s.ptr : "", v.s.len, 1);
        else
            put_text(p, v.s);
        return 0;
    case SQL_BLOB:
        put(p, v.s.ptr ? v.s.ptr : "", v.s.len, 1);
        return 0;
    }
    return err_set(err, ERR_INTERNAL, "store: a parameter of no type");
}

int pg_encode(const PgStmt *s, PgParams *out, Err *err)
{
    vec_reserve(&out->words, s->types.len); /* never moves: values point into it */
    for (size_t i = 0; i < s->types.len; i++) {
        SqlValue v = i < s->params.len ? s->params.ptr[i] : sql_null();
        int rc = put_value(out, s->types.ptr[i], v, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

void pg_params_done(PgParams *p)
{
    VEC_FOREACH (&p->texts, t)
        free(*t);
    vec_free(&p->texts);
    vec_free(&p->words);
    vec_free(&p->values);
    vec_free(&p->lengths);
    vec_free(&p->formats);
}

/* ---- columns ---- */

static uint64_t big_endian(const char *p, int len)
{
    uint64_t v = 0;
    for (int i = 0; i < len; i++)
        v = v << 8 | (uint8_t)p[i];
    return v;
}

static int64_t read_int(Oid type, const char *p, int len)
{
    uint64_t v = big_endian(p, len);
    switch (type) {
    case OID_INT2:
        return (int16_t)v;
    case OID_INT4:
        return (int32_t)v;
    default:
        return (int64_t)v;
    }
}

static double read_double(Oid type, const char *p, int len)
{
    uint64_t bits = big_endian(p, len);
    if (type == OID_FLOAT8) {
        double d;
        memcpy(&d, &bits, sizeof(d));
        return d;
    }
    if (type == OID_FLOAT4) {
        uint32_t half = (uint32_t)bits;
        float f;
        memcpy(&f, &half, sizeof(f));
        return (double)f;
    }
    return (double)read_int(type, p, len);
}

SqlValue pg_decode(const PGresult *r, int row, int col, SqlType as)
{
    if (PQgetisnull(r, row, col))
        return sql_null();
    Oid type = PQftype(r, col);
    const char *p = PQgetvalue(r, row, col);
    int len = PQgetlength(r, row, col);
    switch (as) {
    case SQL_INT:
        return sql_int(type == OID_FLOAT8 ? (int64_t)read_double(type, p, len) : read_int(type, p, len));
    case SQL_DOUBLE:
        return sql_double(read_double(type, p, len));
    case SQL_BOOL:
        return sql_bool(big_endian(p, len) != 0);
    case SQL_TIME:
        return sql_time((WallUsec){(int64_t)big_endian(p, len) + EPOCH_2000});
    case SQL_TEXT:
        if (type == OID_JSONB && len > 0) /* behind the number of its version */
            return sql_text((Str){p + 1, (size_t)len - 1});
        return sql_text((Str){p, (size_t)len});
    case SQL_BLOB:
        return sql_blob(p, (size_t)len);
    case SQL_NULL:
        break;
    }
    return sql_null();
}
