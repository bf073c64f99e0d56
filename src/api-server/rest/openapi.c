/*
 * The OpenAPI document, written from the tables: a path per route, with its parameters and every error that
 * it can answer; the schemas are openapi-schemas.c. https://spec.openapis.org/oas/v3.0.3
 */
#include "openapi.h"

void openapi_text(Buf *out, const char *key, const char *text)
{
    (void)buf_addf(out, "\"%s\":", key);
    json_write_str(out, str_from(text));
}

static bool is_method(const Route *rt, const char *method)
{
    return strcmp(rt->r.method, method) == 0;
}

/* ---- parameters ---- */

static void add_parameter(Buf *out, bool *first, const char *name, size_t len, const char *in,
                          const char *type)
{
    (void)buf_addf(out, "%s{\"name\":\"%.*s\",\"in\":\"%s\",\"required\":%s,\"schema\":{\"type\":\"%s\"}}",
                   *first ? "" : ",", (int)len, name, in, strcmp(in, "path") == 0 ? "true" : "false", type);
    *first = false;
}

typedef struct Parameter {
    const char *name, *in, *type;
} Parameter;

static void add_all(Buf *out, bool *first, const Parameter *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add_parameter(out, first, list[i].name, strlen(list[i].name), list[i].in, list[i].type);
}

static const Parameter of_lists[] = {{"page", "query", "integer"},
                                     {"size", "query", "integer"},
                                     {"search", "query", "string"},
                                     {"orderBy", "query", "string"}};
static const Parameter of_kind_lists[] = {{"fields", "query", "string"}};
static const Parameter of_labelled_lists[] = {{"labelSelector", "query", "string"}};
static const Parameter of_messages[] = {
    {"after_seq", "query", "integer"}, {"limit", "query", "integer"}, {"Last-Event-ID", "header", "string"}};
static const Parameter of_project[] = {{"project_id", "query", "string"}};
static const Parameter of_paths[] = {{"path", "query", "string"}};
static const Parameter of_creation[] = {{"Idempotency-Key", "header", "string"}};
static const Parameter of_change[] = {{"If-Match", "header", "string"}};
static const Parameter of_read[] = {{"If-None-Match", "header", "string"}};
static const Parameter of_session_creation[] = {{"X-Ambient-Project", "header", "string"}};

static void add_list_parameters(Buf *out, bool *first, const Route *rt)
{
    add_all(out, first, of_lists, ARRAY_LEN(of_lists));
    if (rt->handle == handle_list)
        add_all(out, first, of_kind_lists, ARRAY_LEN(of_kind_lists));
    if (kind_field(rt->kind, STR("labels")) >= 0)
        add_all(out, first, of_labelled_lists, ARRAY_LEN(of_labelled_lists));
    if (!strchr(rt->r.pattern, '{') && rt->kind->project_field >= FIELD_FIRST) {
        add_all(out, first, of_project, ARRAY_LEN(of_project));
        add_all(out, first, of_session_creation, ARRAY_LEN(of_session_creation));
    }
}

/* The changes of one object that is there. */
static bool takes_if_match(const Route *rt)
{
    return rt->handle == handle_patch || rt->handle == handle_delete || rt->handle == handle_session_status;
}

static void add_parameters(Buf *out, const Route *rt)
{
    bool first = true;
    (void)buf_addz(out, "\"parameters\":[");
    for (const char *p = strchr(rt->r.pattern, '{'); p; p = strchr(p + 1, '{'))
        add_parameter(out, &first, p + 1, strcspn(p + 1, "}"), "path", "string");
    if (rt->handle == handle_list || rt->handle == handle_message_search)
        add_list_parameters(out, &first, rt);
    if (rt->handle == handle_messages_get)
        add_all(out, &first, of_messages, ARRAY_LEN(of_messages));
    if (rt->flags & R_PATH_QUERY)
        add_all(out, &first, of_paths, ARRAY_LEN(of_paths));
    if (takes_if_match(rt))
        add_all(out, &first, of_change, ARRAY_LEN(of_change));
    if (rt->handle == handle_get)
        add_all(out, &first, of_read, ARRAY_LEN(of_read));
    if (rt->status == 201)
        add_all(out, &first, of_creation, ARRAY_LEN(of_creation));
    if (rt->handle == handle_create && rt->kind == &kind_session)
        add_all(out, &first, of_session_creation, ARRAY_LEN(of_session_creation));
    (void)buf_addc(out, ']');
}

/* ---- bodies and answers ---- */

static void add_content(Buf *out, const char *type, const char *schema)
{
    bool binary = strcmp(type, "application/json") != 0;
    (void)buf_addf(out, "\"content\":{\"%s\":{\"schema\":", type);
    if (binary)
        (void)buf_addf(out, "{\"type\":\"string\"%s}",
                       strcmp(type, "application/octet-stream") == 0 ? ",\"format\":\"binary\"" : "");
    else
        (void)buf_addf(out, "{\"$ref\":\"#/components/schemas/%s\"}", schema);
    (void)buf_addz(out, "}}");
}

static void add_body(Buf *out, const Route *rt)
{
    bool file = is_method(rt, "PUT") && !rt->body;
    if (!rt->body && !file)
        return;
    (void)buf_addf(out, ",\"requestBody\":{\"required\":%s,",
                   file || rt->handle == handle_create ? "true" : "false");
    add_content(out, file ? "application/octet-stream" : "application/json", rt->body);
    (void)buf_addc(out, '}');
}

/* What can go wrong with a route, as far as its row tells. */
static bool may_answer(const Route *rt, int status)
{
    bool of_object = strchr(rt->r.pattern, '{') != NULL;
    bool writes = !is_method(rt, "GET");
    switch (status) {
    case 400:
        return writes || of_object || rt->handle == handle_list;
    case 401:
        return !(rt->flags & R_PUBLIC);
    case 403:
        return rt->r.permission != NULL;
    case 404:
        return of_object;
    case 409:
        return writes;
    case 412:
        return takes_if_match(rt);
    case 413:
        return rt->body || is_method(rt, "PUT");
    case 502:
        return rt->runner != NULL;
    case 500:
    case 503:
        return !(rt->flags & R_PUBLIC);
    default:
        return false;
    }
}

static const int error_statuses[] = {400, 401, 403, 404, 409, 412, 413, 500, 502, 503};

static void add_good_answer(Buf *out, const Route *rt)
{
    (void)buf_addf(out, "\"%d\":{\"description\":\"good\"", rt->status);
    if (rt->answer || rt->type) {
        (void)buf_addc(out, ',');
        add_content(out, rt->type ? rt->type : "application/json", rt->answer);
    }
    (void)buf_addc(out, '}');
}

static void add_responses(Buf *out, const Route *rt)
{
    (void)buf_addz(out, "\"responses\":{");
    if (rt->handle == handle_get)
        (void)buf_addz(out, "\"304\":{\"description\":\"as If-None-Match has it\"},");
    if (rt->status < 400) {
        add_good_answer(out, rt);
        (void)buf_addc(out, ',');
    }
    for (size_t i = 0; i < ARRAY_LEN(error_statuses); i++)
        if (may_answer(rt, error_statuses[i]))
            (void)buf_addf(out, "\"%d\":{\"$ref\":\"#/components/responses/Error\"},", error_statuses[i]);
    (void)buf_addz(out, "\"default\":{\"$ref\":\"#/components/responses/Error\"}}");
}

/* ---- operations ---- */

static void add_method(Buf *out, const Route *rt)
{
    for (const char *p = rt->r.method; *p; p++)
        (void)buf_addc(out, (char)(*p + ('a' - 'A')));
}

static void add_operation_id(Buf *out, const Route *rt)
{
    (void)buf_addz(out, "\"operationId\":\"");
    add_method(out, rt);
    for (const char *p = rt->r.pattern; *p; p++)
        (void)buf_addc(out, strchr("/{}.-", *p) ? '_' : *p);
    (void)buf_addz(out, "\",");
}

/* The collection that a client library makes a class of. */
static void add_tag(Buf *out, const Route *rt)
{
    const char *p = rt->flags & R_ROOT ? "/meta" : rt->r.pattern;
    (void)buf_addf(out, "\"tags\":[\"%.*s\"],", (int)strcspn(p + 1, "/."), p + 1);
}

static void add_operation(Buf *out, const Route *rt)
{
    (void)buf_addc(out, '"');
    add_method(out, rt);
    (void)buf_addz(out, "\":{");
    add_operation_id(out, rt);
    add_tag(out, rt);
    openapi_text(out, "summary", rt->doc);
    (void)buf_addc(out, ',');
    add_parameters(out, rt);
    add_body(out, rt);
    (void)buf_addz(out, rt->r.permission ? ",\"security\":[{\"Bearer\":[]}]," : ",\"security\":[],");
    if (rt->r.permission) {
        openapi_text(out, "x-permission", rt->r.permission);
        (void)buf_addc(out, ',');
    }
    add_responses(out, rt);
    (void)buf_addc(out, '}');
}

static bool same_path(const Route *a, const Route *b)
{
    return (a->flags & R_ROOT) == (b->flags & R_ROOT) && strcmp(a->r.pattern, b->r.pattern) == 0;
}

/* The first row of each path writes all of its methods. */
static bool path_seen(const Route *rt)
{
    FOREACH_ROUTE (other)
        if (same_path(other, rt))
            return other != rt;
    return false;
}

static void add_path(Buf *out, const Route *rt)
{
    const char *sep = "";
    (void)buf_addf(out, "\"%s%s\":{", rt->flags & R_ROOT ? "" : API_PREFIX, rt->r.pattern);
    FOREACH_ROUTE (method) {
        if (!same_path(method, rt))
            continue;
        (void)buf_addz(out, sep);
        add_operation(out, method);
        sep = ",";
    }
    (void)buf_addc(out, '}');
}

void openapi_write(Buf *out)
{
    const char *sep = "";
    (void)buf_addz(
        out,
        "{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Ambient API Server\",\"version\":\"" AMBIENT_VERSION
        "\",\"license\":{\"name\":\"Apache 2.0\","
        "\"url\":\"https://www.apache.org/licenses/LICENSE-2.0\"}},\"paths\":{");
    FOREACH_ROUTE (rt) {
        if (path_seen(rt))
            continue;
        (void)buf_addz(out, sep);
        add_path(out, rt);
        sep = ",";
    }
    (void)buf_addz(
        out, "},\"components\":{\"securitySchemes\":{\"Bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"}},"
             "\"responses\":{\"Error\":{\"description\":\"an error\",");
    add_content(out, "application/json", "Error");
    (void)buf_addz(out, "}},");
    openapi_schemas(out);
    (void)buf_addz(out, "}}");
}
