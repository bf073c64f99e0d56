/*
 * The OpenAPI document, written from the tables: a path per route, a schema per kind and request.
 * https://spec.openapis.org/oas/v3.0.3
 */
#include "rest-internal.h"

static void add_text(Buf *out, const char *key, const char *text)
{
    (void)buf_addf(out, "\"%s\":", key);
    json_write_str(out, str_from(text));
}

/* ---- schemas ---- */

static const struct {
    const char *type, *format;
} json_types[] = {
    [FT_STRING] = {"string", NULL},      [FT_JSON_TEXT] = {"string", "json"},
    [FT_INT32] = {"integer", "int32"},   [FT_INT64] = {"integer", "int64"},
    [FT_DOUBLE] = {"number", "double"},  [FT_BOOL] = {"boolean", NULL},
    [FT_TIME] = {"string", "date-time"},
};

static void add_property(Buf *out, const Field *f, bool read_only)
{
    (void)buf_addf(out, "\"%s\":{\"type\":\"%s\"", f->json, json_types[f->type].type);
    if (json_types[f->type].format)
        (void)buf_addf(out, ",\"format\":\"%s\"", json_types[f->type].format);
    if (f->type == FT_STRING)
        (void)buf_addf(out, ",\"maxLength\":%zu", f->max_len ? f->max_len : FIELD_LEN_DEFAULT);
    if (f->dflt && f->type == FT_STRING)
        (void)buf_addf(out, ",\"default\":\"%s\"", f->dflt);
    else if (f->dflt)
        (void)buf_addf(out, ",\"default\":%s", f->dflt);
    if (f->flags & F_WRITE_ONLY)
        (void)buf_addz(out, ",\"writeOnly\":true");
    else if (read_only)
        (void)buf_addz(out, ",\"readOnly\":true");
    (void)buf_addc(out, ',');
    add_text(out, "description", f->doc ? f->doc : f->json);
    (void)buf_addc(out, '}');
}

static bool is_shown(const Field *f)
{
    return !(f->flags & (F_INTERNAL | F_IGNORED));
}

static void add_required(Buf *out, const Kind *k)
{
    const char *sep = "";
    for (size_t i = 0; i < k->n_fields; i++) {
        if (!(k->fields[i].flags & F_REQUIRED))
            continue;
        (void)buf_addf(out, "%s\"%s\"", *sep ? sep : ",\"required\":[", k->fields[i].json);
        sep = ",";
    }
    if (*sep)
        (void)buf_addc(out, ']');
}

/* A kind as it is answered; what no flag of `settable` lets a client set is read-only. */
static void add_kind(Buf *out, const Kind *k)
{
    (void)buf_addf(
        out,
        ",\"%s\":{\"type\":\"object\",\"properties\":{\"kind\":{\"type\":\"string\",\"readOnly\":true},"
        "\"href\":{\"type\":\"string\",\"readOnly\":true}",
        k->name);
    for (size_t i = 0; i < k->n_fields; i++) {
        if (!is_shown(&k->fields[i]))
            continue;
        (void)buf_addc(out, ',');
        add_property(out, &k->fields[i], !(k->fields[i].flags & (F_CREATE | F_PATCH)));
    }
    (void)buf_addc(out, '}');
    add_required(out, k);
    (void)buf_addf(out,
                   "},\"%s\":{\"allOf\":[{\"$ref\":\"#/components/schemas/List\"},{\"type\":\"object\","
                   "\"properties\":{\"items\":{\"type\":\"array\",\"items\":{\"$ref\":"
                   "\"#/components/schemas/%s\"}}}}]}",
                   k->list_name, k->name);
}

static void add_request(Buf *out, const Kind *k, const char *suffix, unsigned flag)
{
    const char *sep = "";
    (void)buf_addf(out, ",\"%s%s\":{\"type\":\"object\",\"properties\":{", k->name, suffix);
    for (size_t i = 0; i < k->n_fields; i++) {
        if (!(k->fields[i].flags & flag) || !is_shown(&k->fields[i]))
            continue;
        (void)buf_addz(out, sep);
        add_property(out, &k->fields[i], false);
        sep = ",";
    }
    (void)buf_addz(out, "}}");
}

static const char fixed_schemas[] =
    "\"Error\":{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\"},\"kind\":{\"type\":"
    "\"string\"},"
    "\"href\":{\"type\":\"string\"},\"code\":{\"type\":\"string\"},\"reason\":{\"type\":\"string\"},"
    "\"operation_id\":{\"type\":\"string\"}}},"
    "\"List\":{\"type\":\"object\",\"properties\":{\"kind\":{\"type\":\"string\"},\"page\":{\"type\":"
    "\"integer\"},"
    "\"size\":{\"type\":\"integer\"},\"total\":{\"type\":\"integer\"}},"
    "\"required\":[\"kind\",\"page\",\"size\",\"total\"]},"
    "\"ErrorList\":{\"allOf\":[{\"$ref\":\"#/components/schemas/List\"},{\"type\":\"object\",\"properties\":"
    "{\"items\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/Error\"}}}}]},"
    "\"SessionMessage\":{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\"},\"session_id\":"
    "{\"type\":\"string\"},\"seq\":{\"type\":\"integer\",\"format\":\"int64\"},\"event_type\":{\"type\":"
    "\"string\"},"
    "\"payload\":{\"type\":\"string\"},\"created_at\":{\"type\":\"string\",\"format\":\"date-time\"}}},"
    "\"SessionMessages\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/SessionMessage\"}},"
    "\"SessionMessagePush\":{\"type\":\"object\",\"properties\":{\"event_type\":{\"type\":\"string\","
    "\"enum\":"
    "[\"user\"]},\"payload\":{\"type\":\"string\"}}},"
    "\"CredentialToken\":{\"type\":\"object\",\"properties\":{\"credential_id\":{\"type\":\"string\"},"
    "\"provider\":{\"type\":\"string\"},\"token\":{\"type\":\"string\"},\"url\":{\"type\":\"string\"},"
    "\"email\":{\"type\":\"string\"}}},"
    "\"AgentStartRequest\":{\"type\":\"object\",\"properties\":{\"prompt\":{\"type\":\"string\"}}},"
    "\"AgentStartPreview\":{\"type\":\"object\",\"properties\":{\"starting_prompt\":{\"type\":\"string\"}}},"
    "\"AgentStartResponse\":{\"type\":\"object\",\"properties\":{\"session\":{\"$ref\":"
    "\"#/components/schemas/Session\"},\"starting_prompt\":{\"type\":\"string\"}}}";

static void add_schemas(Buf *out)
{
    size_t n;
    const Kind *const *kinds = kinds_all(&n);
    (void)buf_addz(
        out, "\"components\":{\"securitySchemes\":{\"Bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"}},"
             "\"schemas\":{");
    (void)buf_addz(out, fixed_schemas);
    for (size_t i = 0; i < n; i++) {
        add_kind(out, kinds[i]);
        add_request(out, kinds[i], "PatchRequest", F_PATCH);
    }
    add_request(out, &kind_session, "StatusPatchRequest", F_STATUS);
    (void)buf_addz(out, "}}");
}

/* ---- paths ---- */

static void add_parameter(Buf *out, bool *first, const char *name, size_t len, const char *in,
                          const char *type)
{
    (void)buf_addf(out, "%s{\"name\":\"%.*s\",\"in\":\"%s\",\"required\":%s,\"schema\":{\"type\":\"%s\"}}",
                   *first ? "" : ",", (int)len, name, in, strcmp(in, "path") == 0 ? "true" : "false", type);
    *first = false;
}

static void add_query_parameters(Buf *out, bool *first, const Route *rt)
{
    static const char *const list[][2] = {{"page", "integer"},
                                          {"size", "integer"},
                                          {"search", "string"},
                                          {"orderBy", "string"},
                                          {"fields", "string"}};
    static const char *const messages[][2] = {{"after_seq", "integer"}, {"limit", "integer"}};
    for (size_t i = 0; rt->handle == handle_list && i < ARRAY_LEN(list); i++)
        add_parameter(out, first, list[i][0], strlen(list[i][0]), "query", list[i][1]);
    for (size_t i = 0; rt->handle == handle_messages_get && i < ARRAY_LEN(messages); i++)
        add_parameter(out, first, messages[i][0], strlen(messages[i][0]), "query", messages[i][1]);
}

static void add_parameters(Buf *out, const Route *rt)
{
    bool first = true;
    (void)buf_addz(out, "\"parameters\":[");
    for (const char *p = strchr(rt->r.pattern, '{'); p; p = strchr(p + 1, '{'))
        add_parameter(out, &first, p + 1, strcspn(p + 1, "}"), "path", "string");
    add_query_parameters(out, &first, rt);
    (void)buf_addc(out, ']');
}

static void add_ref(Buf *out, const char *schema)
{
    (void)buf_addf(out,
                   "\"content\":{\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/%s\"}}}",
                   schema);
}

static void add_responses(Buf *out, const Route *rt)
{
    (void)buf_addf(out, "\"responses\":{\"%d\":{\"description\":\"good\"", rt->status);
    if (rt->answer) {
        (void)buf_addc(out, ',');
        add_ref(out, rt->answer);
    }
    (void)buf_addz(out, "},\"default\":{\"description\":\"an error\",");
    add_ref(out, "Error");
    (void)buf_addz(out, "}}");
}

static void add_operation_id(Buf *out, const Route *rt)
{
    (void)buf_addz(out, "\"operationId\":\"");
    for (const char *p = rt->r.method; *p; p++)
        (void)buf_addc(out, (char)(*p + ('a' - 'A')));
    for (const char *p = rt->r.pattern; *p; p++)
        (void)buf_addc(out, strchr("/{}.", *p) ? '_' : *p);
    (void)buf_addz(out, "\",");
}

static void add_operation(Buf *out, const Route *rt)
{
    (void)buf_addc(out, '"');
    for (const char *p = rt->r.method; *p; p++)
        (void)buf_addc(out, (char)(*p + ('a' - 'A')));
    (void)buf_addz(out, "\":{");
    add_operation_id(out, rt);
    add_text(out, "summary", rt->doc);
    (void)buf_addc(out, ',');
    add_parameters(out, rt);
    if (rt->body) {
        (void)buf_addz(out, ",\"requestBody\":{");
        add_ref(out, rt->body);
        (void)buf_addc(out, '}');
    }
    (void)buf_addz(out, rt->r.permission ? ",\"security\":[{\"Bearer\":[]}]," : ",\"security\":[],");
    if (rt->r.permission) {
        add_text(out, "x-permission", rt->r.permission);
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
    (void)buf_addz(out, "},");
    add_schemas(out);
    (void)buf_addc(out, '}');
}
