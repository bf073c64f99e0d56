/*
 * The schemas of the OpenAPI document: three per kind from its table, and those that no table describes.
 * https://spec.openapis.org/oas/v3.0.3
 */
#include "openapi.h"

/* ---- kinds ---- */

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
    if (f->flags & F_SHOW_NULL)
        (void)buf_addz(out, ",\"nullable\":true");
    if (f->flags & F_WRITE_ONLY)
        (void)buf_addz(out, ",\"writeOnly\":true");
    else if (read_only)
        (void)buf_addz(out, ",\"readOnly\":true");
    (void)buf_addc(out, ',');
    openapi_text(out, "description", f->doc ? f->doc : f->json);
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

/* ---- the others ---- */

#define REF(name) "{'$ref':'#/components/schemas/" name "'}"
#define TEXT "{'type':'string'}"
#define TIME "{'type':'string','format':'date-time'}"
#define INT "{'type':'integer'}"
#define BOOL "{'type':'boolean'}"
#define OBJECT(properties) "{'type':'object','properties':{" properties "}}"
#define OBJECT_WITH(required, properties)                                                                    \
    "{'type':'object','required':[" required "],'properties':{" properties "}}"
#define ARRAY(of) "{'type':'array','items':" of "}"
#define LIST_OF(name) "{'allOf':[" REF("List") "," OBJECT("'items':" ARRAY(REF(name))) "]}"

/* Written with ' for ", so that a row can be read. */
static const struct {
    const char *name, *schema;
} others[] = {
    {"Error", OBJECT_WITH("'id','kind','href','code','reason'",
                          "'id':" TEXT ",'kind':" TEXT ",'href':" TEXT ",'code':" TEXT ",'reason':" TEXT
                          ",'operation_id':" TEXT)},
    {"ErrorList", LIST_OF("Error")},
    {"List", OBJECT_WITH("'kind','page','size','total'",
                         "'kind':" TEXT ",'page':" INT ",'size':" INT ",'total':" INT)},
    {"ObjectReference", OBJECT("'href':" TEXT ",'id':" TEXT ",'kind':" TEXT)},
    {"Metadata",
     OBJECT("'id':" TEXT ",'href':" TEXT ",'kind':" TEXT ",'version':" TEXT ",'build_time':" TEXT)},
    {"Version", OBJECT("'version':" TEXT ",'build_time':" TEXT ",'git_tag':" TEXT)},

    {"AccessReview", OBJECT_WITH("'resource','verb'",
                                 "'resource':" TEXT ",'verb':" TEXT ",'project_id':" TEXT ",'agent_id':" TEXT
                                 ",'session_id':" TEXT ",'credential_id':" TEXT ",'user':" TEXT)},
    {"AccessReviewAnswer",
     OBJECT_WITH("'allowed','permission','reason'", "'allowed':" BOOL ",'permission':" TEXT ",'reason':" TEXT
                                                    ",'role':" TEXT ",'binding_id':" TEXT ",'scope':" TEXT)},
    {"AccessReviewSelf", OBJECT_WITH("'admin','items','username'",
                                     "'admin':" BOOL ",'username':" TEXT
                                     ",'items':" ARRAY(OBJECT("'binding_id':" TEXT ",'permissions':" ARRAY(
                                         TEXT) ",'role':" TEXT ",'scope':" TEXT ",'scope_id':" TEXT)))},
    {"CredentialToken",
     OBJECT("'credential_id':" TEXT ",'provider':" TEXT ",'token':" TEXT ",'url':" TEXT ",'email':" TEXT)},
    {"ScheduledSessionTrigger",
     OBJECT_WITH("'status'", "'status':{'type':'string','enum':['triggered','queued']},'session_id':" TEXT)},
    {"ApplicationStatus",
     OBJECT("'sync_status':" TEXT ",'health_status':" TEXT ",'sync_revision':" TEXT ",'last_synced_at':" TIME
            ",'operation_phase':" TEXT ",'operation_message':" TEXT
            ",'resource_status':{'type':'array','items':{'type':'object'}},"
            "'conditions':{'type':'array','items':{'type':'object'}}")},
    {"SessionToken", OBJECT("'expires_at':" TIME ",'session_id':" TEXT ",'token':" TEXT)},
    {"AgentStartRequest", OBJECT("'prompt':" TEXT)},
    {"AgentStartPreview", OBJECT("'starting_prompt':" TEXT)},
    {"AgentStartResponse", OBJECT("'session':" REF("Session") ",'starting_prompt':" TEXT)},
    {"ProjectHome", OBJECT("'kind':" TEXT ",'project_id':" TEXT ",'total':" INT ",'agents':" ARRAY(
                        OBJECT("'agent_id':" TEXT ",'agent_name':" TEXT ",'inbox_unread_count':" INT
                               ",'session_id':" TEXT ",'session_phase':" TEXT ",'summary':" TEXT)))},

    {"SessionMessage", OBJECT("'id':" TEXT ",'session_id':" TEXT ",'seq':{'type':'integer','format':'int64'},"
                              "'event_type':" TEXT ",'payload':" TEXT ",'created_at':" TIME)},
    {"SessionMessages", ARRAY(REF("SessionMessage"))},
    {"SessionMessageList", LIST_OF("SessionMessage")},
    {"SessionMessagePush", OBJECT("'event_type':{'type':'string','enum':['user']},'payload':" TEXT)},
    {"SessionExport", OBJECT("'export_at':" TIME ",'session':" REF(
                          "Session") ",'version':" TEXT ",'messages':" REF("SessionMessages"))},
    {"SessionRepoRequest", OBJECT_WITH("'url'", "'url':" TEXT ",'branch':" TEXT ",'auto_push':" BOOL)},
    {"SessionWorkflowRequest", OBJECT_WITH("'git_url'", "'git_url':" TEXT ",'branch':" TEXT ",'path':" TEXT)},
    {"SessionWorkflow", OBJECT("'workflow':{'type':'object','nullable':true},'raw':" TEXT)},
    {"SessionModelRequest", OBJECT_WITH("'model'", "'model':" TEXT)},
    {"SessionNameRequest", OBJECT_WITH("'name'", "'name':" TEXT)},
    {"SessionPodEvents",
     ARRAY(OBJECT("'type':" TEXT ",'reason':" TEXT ",'message':" TEXT ",'timestamp':" TEXT
                  ",'lastTimestamp':" TEXT ",'count':" INT ",'involvedObject':{'type':'object'},"
                  "'source':{'type':'object'}"))},

    {"RunInput", OBJECT("'threadId':" TEXT ",'runId':" TEXT ",'parentRunId':" TEXT
                        ",'messages':" ARRAY("{'type':'object'}"))},
    {"Interrupt", OBJECT("'thread_id':" TEXT ",'runId':" TEXT ",'scope':" TEXT)},
    {"RunnerMessage", OBJECT("'message':" TEXT)},
    {"Feedback",
     OBJECT_WITH("'type','metaType'", "'type':{'type':'string','enum':['META']},'metaType':{'type':'string',"
                                      "'enum':['thumbs_up','thumbs_down']},'payload':{'type':'object'}")},
    {"FeedbackAnswer", OBJECT("'type':" TEXT ",'event':{'type':'object'}")},
    {"TaskList", OBJECT("'tasks':" ARRAY("{'type':'object'}") ",'total':" INT)},
    {"TaskOutput", OBJECT("'task_id':" TEXT ",'output':" ARRAY("{}"))},
    {"Capabilities",
     OBJECT("'framework':" TEXT ",'agent_features':" ARRAY(TEXT) ",'platform_features':" ARRAY(
         TEXT) ",'model':{'type':'string','nullable':true}")},
    {"McpStatus", OBJECT("'servers':" ARRAY("{'type':'object'}") ",'totalCount':" INT)},
    {"RepoStatus", "{}"}, /* an array without a runner, an object with one */
    {"Files", OBJECT("'files':" ARRAY(OBJECT("'name':" TEXT ",'path':" TEXT ",'isDir':" BOOL ",'size':" INT
                                             ",'modifiedAt':" TIME)))},
    {"GitStatus", "{'type':'object'}"},
    {"GitRemoteRequest", OBJECT_WITH("'remoteUrl'", "'path':" TEXT ",'remoteUrl':" TEXT ",'branch':" TEXT)},
    {"GitBranches", ARRAY(TEXT)},
};

static void add_other(Buf *out, size_t i)
{
    (void)buf_addf(out, "%s\"%s\":", i ? "," : "", others[i].name);
    for (const char *p = others[i].schema; *p; p++)
        (void)buf_addc(out, *p == '\'' ? '"' : *p);
}

void openapi_schemas(Buf *out)
{
    size_t n;
    const Kind *const *kinds = kinds_all(&n);
    (void)buf_addz(out, "\"schemas\":{");
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        add_other(out, i);
    for (size_t i = 0; i < n; i++) {
        add_kind(out, kinds[i]);
        add_request(out, kinds[i], "PatchRequest", F_PATCH);
    }
    add_request(out, &kind_session, "StatusPatchRequest", F_STATUS);
    (void)buf_addc(out, '}');
}
