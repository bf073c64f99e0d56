/* Which credentials a session gets: defects 79 to 85 of control-plane.md. */
#include "test-internal.h"

#include <string.h>
#include "base/list.h"
#include "base/mem.h"
#include "base/vec.h"
#include "credentials.h"

/* A server of rows. A search is not parsed: every row of the kind is found, so that what the resolver drops
   is dropped by itself. */
typedef struct Row {
    Obj *o;
} Row;

typedef struct Server {
    Api api;
    VEC_OF(Row)
    rows;
    List calls;
    VEC_OF(char *)
    sent;                                   /* "METHOD path body" */
    ErrCode fail_find, fail_get, fail_send; /* ERR_OK = none */
    const char *refuse;                     /* grants of this credential answer 403 */
} Server;

struct ApiCall {
    ListLink link;
    Server *s;
    const Kind *kind;
    char *id, *text;
    ApiDone got;
    ClientEach each;
    ClientListDone listed;
    ApiJsonDone json;
    void *arg;
};

static ApiCall *push(Api *a, const Kind *k, void *arg)
{
    ApiCall *c = xnew(ApiCall);
    c->s = CONTAINER_OF(a, Server, api);
    c->kind = k;
    c->arg = arg;
    list_push_back(&c->s->calls, &c->link);
    return c;
}

static ApiCall *api_get(Api *a, const Kind *k, Str project, Str id, ApiDone done, void *arg)
{
    ApiCall *c = push(a, k, arg);
    c->id = str_dup(id);
    c->got = done;
    return c;
}

static ApiCall *api_find(Api *a, const Kind *k, Str search, ClientEach each, ClientListDone done, void *arg)
{
    ApiCall *c = push(a, k, arg);
    c->text = str_dup(search);
    c->each = each;
    c->listed = done;
    return c;
}

static ApiCall *api_send(Api *a, const char *method, const char *path, Str body, ApiJsonDone done, void *arg)
{
    ApiCall *c = push(a, NULL, arg);
    c->text = xasprintf("%s %s " STR_FMT, method, path, STR_ARG(body));
    c->json = done;
    return c;
}

static void call_free(ApiCall *c)
{
    list_remove(&c->link);
    free(c->id);
    free(c->text);
    free(c);
}

static void api_stop(ApiCall *c)
{
    call_free(c);
}

static void do_find(Server *s, const ApiCall *c, ClientListDone done, void *arg)
{
    Err err = {0};
    if (s->fail_find)
        (void)err_set(&err, s->fail_find, "planned");
    for (size_t i = 0; !s->fail_find && i < s->rows.len; i++)
        if (s->rows.ptr[i].o->kind == c->kind)
            c->each(arg, obj_dup(s->rows.ptr[i].o));
    done(arg, s->fail_find ? &err : NULL);
}

static void do_get(Server *s, const ApiCall *c, ApiDone done, void *arg)
{
    Err err = {0};
    (void)err_set(&err, s->fail_get ? s->fail_get : ERR_NOT_FOUND, "planned");
    for (size_t i = 0; !s->fail_get && i < s->rows.len; i++) {
        Obj *o = s->rows.ptr[i].o;
        if (o->kind == c->kind && str_eqz(obj_str(o, FIELD_ID), c->id)) {
            done(arg, obj_dup(o), NULL);
            return;
        }
    }
    done(arg, NULL, &err);
}

static void do_send(Server *s, const ApiCall *c, ApiJsonDone done, void *arg)
{
    Err err = {0};
    ErrCode code = s->fail_send;
    for (size_t i = 0; i < s->sent.len; i++)
        if (strcmp(s->sent.ptr[i], c->text) == 0)
            code = ERR_CONFLICT; /* it is there already */
    if (s->refuse && strstr(c->text, s->refuse))
        code = ERR_FORBIDDEN;
    if (code)
        (void)err_set(&err, code, "planned");
    else
        vec_push(&s->sent, xstrdup(c->text));
    done(arg, NULL, code ? &err : NULL);
}

/* Ends one call. False: none waits. */
static bool step(Server *s)
{
    if (list_empty(&s->calls))
        return false;
    ApiCall *c = LIST_ENTRY(s->calls.next, ApiCall, link);
    ApiCall copy = *c;
    list_remove(&c->link);
    free(c);
    if (copy.listed)
        do_find(s, &copy, copy.listed, copy.arg);
    else if (copy.got)
        do_get(s, &copy, copy.got, copy.arg);
    else
        do_send(s, &copy, copy.json, copy.arg);
    free(copy.id);
    free(copy.text);
    return true;
}

/* ---- rows ---- */

static Obj *add(Server *s, const Kind *k, const char *id)
{
    Obj *o = obj_new(k);
    obj_set_str(o, FIELD_ID, str_from(id));
    obj_set_time(o, FIELD_CREATED_AT, (WallUsec){(int64_t)(1000 + s->rows.len)});
    vec_push(&s->rows, ((Row){o}));
    return o;
}

static void add_role(Server *s, const char *id, const char *name)
{
    obj_set_str(add(s, &kind_role, id), ROLE_NAME, str_from(name));
}

static void add_credential(Server *s, const char *id, const char *provider)
{
    Obj *o = add(s, &kind_credential, id);
    obj_set_str(o, CREDENTIAL_NAME, str_from(id));
    obj_set_str(o, CREDENTIAL_PROVIDER, str_from(provider));
}

/* NULL = not set. */
static Obj *bind(Server *s, const char *role, const char *credential, const char *project, const char *agent)
{
    Obj *o = add(s, &kind_role_binding, credential);
    obj_set_str(o, ROLE_BINDING_ROLE_ID, str_from(role));
    obj_set_str(o, ROLE_BINDING_SCOPE, STR("credential"));
    obj_set_str(o, ROLE_BINDING_CREDENTIAL_ID, str_from(credential));
    if (project)
        obj_set_str(o, ROLE_BINDING_PROJECT_ID, str_from(project));
    if (agent)
        obj_set_str(o, ROLE_BINDING_AGENT_ID, str_from(agent));
    return o;
}

static void server_init(Server *s)
{
    static const ApiOps ops = {.get = api_get, .find = api_find, .send = api_send, .cancel = api_stop};
    *s = (Server){.api = {&ops}};
    list_init(&s->calls);
    add_role(s, "r-owner", "credential:owner");
    add_role(s, "r-reader", "credential:token-reader");
    add_role(s, "r-viewer", "credential:viewer");
}

static void server_done(Server *s)
{
    assert_true(list_empty(&s->calls));
    VEC_FOREACH (&s->rows, r)
        obj_free(r->o);
    vec_free(&s->rows);
    VEC_FOREACH (&s->sent, t)
        free(*t);
    vec_free(&s->sent);
}

/* ---- asking ---- */

typedef struct Got {
    bool done;
    char ids[512], trouble[512];
    ErrCode code;
} Got;

static void on_done(void *arg, Str ids, Str trouble, const Err *err)
{
    Got *g = arg;
    assert_false(g->done);
    g->done = true;
    g->code = err ? err->code : ERR_OK;
    (void)snprintf(g->ids, sizeof(g->ids), STR_FMT, STR_ARG(ids));
    (void)snprintf(g->trouble, sizeof(g->trouble), STR_FMT, STR_ARG(trouble));
}

static Got resolve_with(Server *s, const CredentialsOptions *o)
{
    const CredentialsFor f = {STR("session-1"), STR("p"), STR("a")};
    Credentials *c = credentials_new(o);
    Got g = {0};
    credentials_resolve(c, &f, on_done, &g);
    assert_false(g.done);
    while (step(s))
        ;
    assert_true(g.done);
    credentials_free(c);
    return g;
}

static Got resolve(Server *s, GrantMode mode)
{
    return resolve_with(s, &(const CredentialsOptions){.api = &s->api, .mode = mode});
}

static void test_credentials__agent_beats_project_beats_global_and_the_first_wins(void **state)
{
    Server s;
    server_init(&s);
    static const char *const ids[] = {"gh-global", "gh-project", "gh-agent", "jira-1", "jira-2", "lab"};
    static const char *const providers[] = {"github", "github", "github", "jira", "jira", "gitlab"};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        add_credential(&s, ids[i], providers[i]);
    bind(&s, "r-viewer", "gh-global", NULL, NULL);
    bind(&s, "r-viewer", "gh-agent", "p", "a");
    bind(&s, "r-viewer", "gh-project", "p", NULL);
    bind(&s, "r-viewer", "jira-1", "p", NULL);
    bind(&s, "r-viewer", "jira-2", "p", NULL);
    bind(&s, "r-viewer", "lab", NULL, NULL);
    Got g = resolve(&s, GRANTS_AUTO);
    assert_int_equal(g.code, ERR_OK);
    assert_string_equal(g.ids, "{\"github\":\"gh-agent\",\"gitlab\":\"lab\",\"jira\":\"jira-1\"}");
    assert_string_equal(g.trouble, "");
    assert_int_equal(s.sent.len, 3);
    assert_non_null(
        strstr(s.sent.ptr[0], "POST /role_bindings {\"role_id\":\"r-reader\",\"scope\":\"credential\","));
    assert_non_null(strstr(s.sent.ptr[0], "\"session_id\":\"session-1\"}"));
    server_done(&s);
}

/* The claims are {"aud":"ambient","preferred_username":"service-account-cp"}. */
#define OWN_TOKEN                                                                                            \
    "eyJhbGciOiJub25lIn0.eyJhdWQiOiJhbWJpZW50IiwicHJlZmVycmVkX3VzZXJuYW1lIjoic2VydmljZS1hY2NvdW50LWNwIn0."   \
    "c2ln"

static void test_credentials__85_a_grant_names_us_as_our_token_does(void **state)
{
    const struct {
        const char *token, *wanted;
    } all[] = {
        {OWN_TOKEN, "\"user_id\":\"service-account-cp\"}"},
        {"no-jwt", "\"user_id\":\"cp\"}"},
        {"a.b.c", "\"user_id\":\"cp\"}"},
        {"", "\"user_id\":\"cp\"}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        Server s;
        server_init(&s);
        add_credential(&s, "gh", "github");
        bind(&s, "r-viewer", "gh", NULL, NULL);
        TokenSource *own = token_source_static(str_from(all[i].token));
        const CredentialsOptions o = {.api = &s.api, .grantee = "cp", .own = own};
        resolve_with(&s, &o);
        assert_int_equal(s.sent.len, 1);
        assert_non_null(strstr(s.sent.ptr[0], all[i].wanted));
        token_source_free(own);
        server_done(&s);
    }
}

static void test_credentials__of_others_are_not_taken(void **state)
{
    Server s;
    server_init(&s);
    add_credential(&s, "x", "github");
    bind(&s, "r-viewer", "x", "other", NULL);
    bind(&s, "r-viewer", "x", "p", "another-agent");
    bind(&s, "r-owner", "x", NULL, NULL); /* 80: who owns it does not give it to everybody */
    obj_set_str(bind(&s, "r-reader", "x", NULL, NULL), ROLE_BINDING_SESSION_ID, STR("session-0")); /* 79 */
    bind(&s, "r-reader", "x", NULL, NULL);
    obj_set_str(bind(&s, "r-viewer", "x", NULL, NULL), ROLE_BINDING_USER_ID, STR("alice"));
    Got g = resolve(&s, GRANTS_AUTO);
    assert_string_equal(g.ids, "{}");
    assert_int_equal(s.sent.len, 0);
    server_done(&s);
}

static void test_credentials__80_no_owner_role_is_no_answer(void **state)
{
    Server s;
    server_init(&s);
    obj_set_str(s.rows.ptr[0].o, ROLE_NAME, STR("credential:someone"));
    add_credential(&s, "x", "github");
    bind(&s, "r-viewer", "x", NULL, NULL);
    assert_int_equal(resolve(&s, GRANTS_AUTO).code, ERR_UNAVAILABLE);
    server_done(&s);
}

static void test_credentials__82_granted_before_is_granted(void **state)
{
    Server s;
    server_init(&s);
    add_credential(&s, "x", "github");
    bind(&s, "r-viewer", "x", "p", NULL);
    resolve(&s, GRANTS_AUTO);
    Got g = resolve(&s, GRANTS_AUTO);
    assert_string_equal(g.ids, "{\"github\":\"x\"}");
    assert_int_equal(s.sent.len, 1);
    server_done(&s);
}

static void test_credentials__81_a_refused_grant_says_so_and_spares_the_others(void **state)
{
    Server s;
    server_init(&s);
    add_credential(&s, "mine", "github");
    add_credential(&s, "refused", "jira");
    bind(&s, "r-viewer", "mine", "p", NULL);
    bind(&s, "r-viewer", "refused", "p", NULL);
    bind(&s, "r-viewer", "gone", "p", NULL);
    s.refuse = "\"refused\"";
    Got g = resolve(&s, GRANTS_AUTO);
    assert_string_equal(g.ids, "{\"github\":\"mine\"}");
    assert_string_equal(g.trouble,
                        "refused: not granted to the session (planned); gone: it does not exist any more");
    g = resolve(&s, GRANTS_OFF);
    assert_string_equal(g.ids, "{\"github\":\"mine\",\"jira\":\"refused\"}");
    server_done(&s);
}

static void test_credentials__84_what_may_pass_is_an_error_and_not_none(void **state)
{
    Server s;
    server_init(&s);
    add_credential(&s, "x", "github");
    bind(&s, "r-viewer", "x", "p", NULL);
    s.fail_find = ERR_UNAVAILABLE;
    assert_int_equal(resolve(&s, GRANTS_AUTO).code, ERR_UNAVAILABLE);
    s.fail_find = ERR_OK;
    s.fail_get = ERR_DEADLINE;
    assert_int_equal(resolve(&s, GRANTS_AUTO).code, ERR_DEADLINE);
    s.fail_get = ERR_OK;
    s.fail_send = ERR_UNAVAILABLE;
    assert_int_equal(resolve(&s, GRANTS_AUTO).code, ERR_UNAVAILABLE);
    server_done(&s);
}

static void on_revoked(void *arg, const Err *err)
{
    Got *g = arg;
    g->done = true;
    g->code = err ? err->code : ERR_OK;
}

static void test_credentials__83_all_grants_of_a_session_are_taken_back(void **state)
{
    Server s;
    server_init(&s);
    for (int i = 0; i < 250; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "b%d", i);
        obj_set_str(bind(&s, "r-reader", id, NULL, NULL), ROLE_BINDING_SESSION_ID,
                    i % 2 ? STR("session-1") : STR("session-2"));
    }
    const CredentialsOptions o = {.api = &s.api};
    Credentials *c = credentials_new(&o);
    Got g = {0};
    credentials_revoke(c, STR("session-1"), on_revoked, &g);
    while (step(&s))
        ;
    assert_true(g.done && g.code == ERR_OK);
    assert_int_equal(s.sent.len, 125);
    assert_non_null(strstr(s.sent.ptr[0], "DELETE /role_bindings/b249"));
    credentials_free(c);
    server_done(&s);
}

static void test_credentials__a_cancelled_call_is_not_heard_of(void **state)
{
    Server s;
    server_init(&s);
    const CredentialsOptions o = {.api = &s.api};
    Credentials *c = credentials_new(&o);
    Got g = {0};
    const CredentialsFor f = {STR("session-1"), STR("p"), STR("a")};
    for (int steps = 0; steps < 3; steps++) {
        CredentialsCall *k = credentials_resolve(c, &f, on_done, &g);
        for (int i = 0; i < steps; i++)
            assert_true(step(&s));
        credentials_cancel(k);
        assert_true(list_empty(&s.calls));
    }
    assert_false(g.done);
    credentials_free(c);
    server_done(&s);
}

int run_credentials_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_credentials__agent_beats_project_beats_global_and_the_first_wins),
        cmocka_unit_test(test_credentials__85_a_grant_names_us_as_our_token_does),
        cmocka_unit_test(test_credentials__of_others_are_not_taken),
        cmocka_unit_test(test_credentials__80_no_owner_role_is_no_answer),
        cmocka_unit_test(test_credentials__82_granted_before_is_granted),
        cmocka_unit_test(test_credentials__81_a_refused_grant_says_so_and_spares_the_others),
        cmocka_unit_test(test_credentials__84_what_may_pass_is_an_error_and_not_none),
        cmocka_unit_test(test_credentials__83_all_grants_of_a_session_are_taken_back),
        cmocka_unit_test(test_credentials__a_cancelled_call_is_not_heard_of),
    };
    return cmocka_run_group_tests_name("credentials", tests, NULL, NULL);
}
