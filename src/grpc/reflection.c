/*
 * grpc.reflection.v1 and v1alpha, which have the same bytes on the wire. The descriptors are indexed by
 * reading just the names out of the serialised FileDescriptorSet; the answers are slices of it.
 * https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
 */
#include <assert.h>
#include "base/mem.h"
#include "pb/pb.h"
#include "pb/reflection.h"
#include "server-internal.h"

/* Field numbers of google/protobuf/descriptor.proto. */
enum {
    SET_FILE = 1,
    FILE_NAME = 1,
    FILE_PACKAGE = 2,
    FILE_DEPENDENCY = 3,
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
    SERVICE_METHOD = 2,
    ANY_NAME = 1,
};
enum { DEPTH_MAX = 16, FILES_MAX = 256 };

typedef struct File {
    Str bytes;
    VEC_OF(Str)
    needs;       /* names of files */
    bool marked; /* is in the answer that is being made */
} File;

struct Reflection {
    Map *files;   /* name -> File */
    Map *symbols; /* full name -> File */
};

static Str field_bytes(Str message, uint32_t number)
{
    PbField f;
    while (pb_field_next(&message, &f) > 0)
        if (f.number == number && f.type == PB_LEN)
            return f.bytes;
    return STR_NULL;
}

/* ---- the index ---- */

static char *full_name(const char *scope, Str name)
{
    return *scope ? xasprintf("%s." STR_FMT, scope, STR_ARG(name)) : str_dup(name);
}

/* Adds the symbol `message` (any descriptor whose name is field 1) and those below it. */
static void index_symbol(Reflection *r, File *file, const char *scope, Str message, uint32_t kind, int depth)
{
    CLEANUP_FREE char *name = full_name(scope, field_bytes(message, ANY_NAME));
    map_put(r->symbols, str_from(name), file);
    PbField f;
    while (depth < DEPTH_MAX && pb_field_next(&message, &f) > 0) {
        if (f.type != PB_LEN)
            continue;
        if (kind == FILE_MESSAGE && f.number == MESSAGE_NESTED)
            index_symbol(r, file, name, f.bytes, FILE_MESSAGE, depth + 1);
        else if (kind == FILE_MESSAGE && f.number == MESSAGE_ENUM)
            index_symbol(r, file, name, f.bytes, FILE_ENUM, depth + 1);
        else if (kind == FILE_SERVICE && f.number == SERVICE_METHOD)
            index_symbol(r, file, name, f.bytes, 0, depth + 1);
    }
}

static void index_file(Reflection *r, Str bytes)
{
    File *file = xnew(File);
    file->bytes = bytes;
    map_put(r->files, field_bytes(bytes, FILE_NAME), file);
    CLEANUP_FREE char *package = str_dup(field_bytes(bytes, FILE_PACKAGE));
    PbField f;
    while (pb_field_next(&bytes, &f) > 0) {
        if (f.type != PB_LEN)
            continue;
        if (f.number == FILE_DEPENDENCY)
            vec_push(&file->needs, f.bytes);
        else if (f.number == FILE_MESSAGE || f.number == FILE_ENUM || f.number == FILE_SERVICE)
            index_symbol(r, file, package, f.bytes, f.number, 0);
    }
}

/* ---- answers ---- */

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;
#define REQUEST(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define RESPONSE(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

static void send(GrpcCall *c, Request *req, Response *res)
{
    res->valid_host = req->host;
    res->original_request = req;
    grpc_call_send(c, &res->base);
}

static void send_error(GrpcCall *c, Request *req, GrpcStatus status, const char *message)
{
    Response res = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    CLEANUP_FREE char *text = xstrdup(message);
    error.error_code = (int32_t)status;
    error.error_message = text;
    res.message_response_case = RESPONSE(ERROR_RESPONSE);
    res.error_response = &error;
    send(c, req, &res);
}

/* The file and, before it, all that it needs. */
static void collect(Reflection *r, File *file, File **list, size_t *n)
{
    if (file->marked || *n == FILES_MAX)
        return;
    file->marked = true;
    VEC_FOREACH (&file->needs, name) {
        File *need = map_get(r->files, *name);
        if (need)
            collect(r, need, list, n);
    }
    if (*n < FILES_MAX)
        list[(*n)++] = file;
}

static void send_file(GrpcCall *c, Request *req, File *file)
{
    if (!file) {
        send_error(c, req, GRPC_NOT_FOUND, "not found");
        return;
    }
    Response res = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    Grpc__Reflection__V1__FileDescriptorResponse files = GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    File *list[FILES_MAX];
    ProtobufCBinaryData data[FILES_MAX];
    size_t n = 0;
    collect(c->session->host->reflection, file, list, &n);
    for (size_t i = 0; i < n; i++) {
        union { /* protobuf-c has no const bytes */
            const char *text;
            uint8_t *bytes;
        } u = {.text = list[n - 1 - i]->bytes.ptr}; /* the file that was asked for comes first */
        data[i] = (ProtobufCBinaryData){list[n - 1 - i]->bytes.len, u.bytes};
        list[n - 1 - i]->marked = false;
    }
    files.n_file_descriptor_proto = n;
    files.file_descriptor_proto = data;
    res.message_response_case = RESPONSE(FILE_DESCRIPTOR_RESPONSE);
    res.file_descriptor_response = &files;
    send(c, req, &res);
}

static void send_services(GrpcCall *c, Request *req)
{
    Response res = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    Grpc__Reflection__V1__ListServiceResponse list = GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    const Map *services = c->session->host->services;
    size_t n = map_len(services);
    CLEANUP_FREE Grpc__Reflection__V1__ServiceResponse *rows = xcalloc(n, sizeof(*rows));
    CLEANUP_FREE Grpc__Reflection__V1__ServiceResponse **ptrs = xcalloc(n, sizeof(*ptrs));
    MAP_FOREACH (services, it) {
        Grpc__Reflection__V1__ServiceResponse *row = &rows[list.n_service];
        grpc__reflection__v1__service_response__init(row);
        row->name = str_dup(it.key);
        ptrs[list.n_service++] = row;
    }
    list.service = ptrs;
    res.message_response_case = RESPONSE(LIST_SERVICES_RESPONSE);
    res.list_services_response = &list;
    send(c, req, &res);
    for (size_t i = 0; i < list.n_service; i++)
        free(rows[i].name);
}

static void on_request(void *arg, GrpcCall *c, Str message)
{
    CLEANUP(pb_freep)
    Request *req = grpc_call_decode(c, &grpc__reflection__v1__server_reflection_request__descriptor, message);
    if (!req)
        return;
    Reflection *r = c->session->host->reflection;
    switch (req->message_request_case) {
    case REQUEST(FILE_BY_FILENAME):
        send_file(c, req, map_get(r->files, str_from(req->file_by_filename)));
        break;
    case REQUEST(FILE_CONTAINING_SYMBOL):
        send_file(c, req, map_get(r->symbols, str_from(req->file_containing_symbol)));
        break;
    case REQUEST(LIST_SERVICES):
        send_services(c, req);
        break;
    case REQUEST(FILE_CONTAINING_EXTENSION):
    case REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE):
        send_error(c, req, GRPC_NOT_FOUND, "no extensions are known");
        break;
    default:
        grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "invalid MessageRequest");
        break;
    }
}

static void on_half_close(void *arg, GrpcCall *c)
{
    grpc_call_finish(c, GRPC_OK, NULL);
}

#define REFLECTION_METHOD(version)                                                                           \
    {                                                                                                        \
        .path = "/grpc.reflection." version ".ServerReflection/ServerReflectionInfo", .kind = GRPC_BIDI,     \
        .on_message = on_request, .on_half_close = on_half_close, .data = srv_builtin                        \
    }
static const GrpcMethod reflection_methods[] = {REFLECTION_METHOD("v1"), REFLECTION_METHOD("v1alpha"), {0}};

void srv_reflection_enable(SrvHost *host, Str descriptor_set)
{
    assert(!host->reflection);
    Reflection *r = xnew(Reflection);
    r->files = map_new();
    r->symbols = map_new();
    PbField f;
    while (pb_field_next(&descriptor_set, &f) > 0)
        if (f.number == SET_FILE && f.type == PB_LEN)
            index_file(r, f.bytes);
    host->reflection = r;
    srv_host_add(host, reflection_methods);
}

void srv_reflection_free(Reflection *r)
{
    if (!r)
        return;
    MAP_FOREACH (r->files, it) {
        File *file = it.value;
        vec_free(&file->needs);
        free(file);
    }
    map_free(r->files);
    map_free(r->symbols);
    free(r);
}
