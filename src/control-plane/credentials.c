#include "credentials.h"

#include <assert.h>
#include <string.h>
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"
#include "json/json.h"
#include "own-name.h"

#define OWNER "credential:owner"
#define READER "credential:token-reader"
#define SEARCH_MAX ((size_t)4096)
#define TEXT_MAX ((size_t)64 << 10)
/* More bindings than that are a mistake of somebody's. */
#define BINDINGS_MAX 10000

struct Credentials {
    CredentialsOptions o;
    List calls;
};

typedef enum Tier { TIER_GLOBAL, TIER_PROJECT, TIER_AGENT } Tier;

/* A binding that reaches the session, and what is known of its credential. */
typedef struct Candidate {
    char *credential_id;
    Tier tier;
    WallUsec made;
    char *name, *provider; /* NULL = not looked at yet, or not to be seen */
    bool winner, granted;
    char *why; /* not injected because; NULL = no reason */
} Candidate;

typedef VEC_OF(Candidate)
Candidates;

struct CredentialsCall {
    Credentials *all;
    ListLink link;
    ApiCall *call;
    CredentialsDone done;
    RevokeDone revoked;
    GrantEach each;
    void *arg;
    char *session, *project, *agent;
    char *owner_role, *reader_role; /* ids */
    Candidates found;
    size_t at;      /* of the candidate that is being looked at or granted */
    Tier searching; /* which query is under way */
    VEC_OF(char *)
    bindings; /* to be revoked */
    Err failed;
};

int grant_mode_parse(Str s, GrantMode *ret)
{
    static const char *const names[_GRANTS_MAX] = {"auto", "on", "off"};
    for (int i = 0; i < _GRANTS_MAX; i++) {
        if (!str_eqz(s, names[i]))
            continue;
        *ret = (GrantMode)i;
        return 0;
    }
    return -1;
}

Credentials *credentials_new(const CredentialsOptions *o)
{
    Credentials *c = xnew(Credentials);
    c->o = *o;
    list_init(&c->calls);
    return c;
}

static void call_free(CredentialsCall *k)
{
    api_cancel(k->all->o.api, k->call);
    list_remove(&k->link);
    VEC_FOREACH (&k->found, f) {
        free(f->credential_id);
        free(f->name);
        free(f->provider);
        free(f->why);
    }
    vec_free(&k->found);
    VEC_FOREACH (&k->bindings, id)
        free(*id);
    vec_free(&k->bindings);
    free(k->session);
    free(k->project);
    free(k->agent);
    free(k->owner_role);
    free(k->reader_role);
    free(k);
}

Credentials *credentials_free(Credentials *c)
{
    if (!c)
        return NULL;
    LIST_FOREACH_SAFE (&c->calls, it)
        call_free(LIST_ENTRY(it, CredentialsCall, link));
    free(c);
    return NULL;
}

void credentials_cancel(CredentialsCall *k)
{
    if (k)
        call_free(k);
}

static CredentialsCall *call_new(Credentials *c, Str session, void *arg)
{
    CredentialsCall *k = xnew(CredentialsCall);
    k->all = c;
    k->arg = arg;
    k->session = str_dup(session);
    list_push_back(&c->calls, &k->link);
    return k;
}

static void fail(CredentialsCall *k, const Err *err)
{
    CredentialsDone done = k->done;
    void *arg = k->arg;
    Err why = *err;
    call_free(k);
    done(arg, STR_NULL, STR_NULL, &why);
}

/* ---- queries ---- */

/* A value in the search language: an id or a name that passes here has no quote in it. */
static bool is_plain(const char *s)
{
    for (; *s; s++)
        if (!strchr("_.@:-", *s) && !(*s >= '0' && *s <= '9') && !((*s | 0x20) >= 'a' && (*s | 0x20) <= 'z'))
            return false;
    return true;
}

static void find(CredentialsCall *k, const Kind *kind, const char *search, ClientEach each,
                 ClientListDone done)
{
    Api *api = k->all->o.api;
    k->call = api->ops->find(api, kind, str_from(search), each, done, k);
}

/* ---- the end ---- */

static int by_provider(const void *a, const void *b)
{
    const Candidate *const *x = a, *const *y = b;
    return strcmp((*x)->provider, (*y)->provider);
}

static void write_ids(const CredentialsCall *k, Buf *out)
{
    const Candidate **given = xcalloc(k->found.len + 1, sizeof(*given));
    size_t n = 0;
    bool first = true;
    VEC_FOREACH (&k->found, f)
        if (f->winner && f->granted)
            given[n++] = f;
    qsort(given, n, sizeof(*given), by_provider);
    (void)buf_addc(out, '{');
    for (size_t i = 0; i < n; i++) {
        json_key(out, &first, given[i]->provider);
        json_write_str_plain(out, str_from(given[i]->credential_id));
    }
    (void)buf_addc(out, '}');
    free(given);
}

static void write_trouble(const CredentialsCall *k, Buf *out)
{
    VEC_FOREACH (&k->found, f) {
        if (!f->why)
            continue;
        (void)buf_addf(out, "%s%s: %s", out->len ? "; " : "", f->name ? f->name : f->credential_id, f->why);
    }
}

static void finish(CredentialsCall *k)
{
    CLEANUP_BUF Buf ids = BUF_INIT(TEXT_MAX), trouble = BUF_INIT(TEXT_MAX);
    CredentialsDone done = k->done;
    void *arg = k->arg;
    write_ids(k, &ids);
    write_trouble(k, &trouble);
    call_free(k);
    done(arg, buf_str(&ids), buf_str(&trouble), NULL);
}

/* ---- grants ---- */

static void grant_next(CredentialsCall *k);

static void on_granted(void *arg, const json_t *body, const Err *err)
{
    CredentialsCall *k = arg;
    Candidate *f = &k->found.ptr[k->at];
    k->call = NULL;
    if (!err || err->code == ERR_CONFLICT) { /* it was granted before */
        f->granted = true;
    } else if (err_info(err->code)->may_retry || err->code == ERR_INTERNAL) {
        fail(k, err);
        return;
    } else {
        f->why = xasprintf("not granted to the session (%s)", err->msg);
    }
    k->at++;
    grant_next(k);
}

static void write_grant(const CredentialsCall *k, const Candidate *f, Buf *out)
{
    const CredentialsOptions *o = &k->all->o;
    const char *grantee = o->grantee;
    char name[OWN_NAME_MAX];
    bool first = true;
    if (grantee && *grantee && o->own && own_name(token_source_get(o->own), name))
        grantee = name;
    const struct {
        const char *key, *value;
    } fields[] = {
        {"role_id", k->reader_role},
        {"scope", "credential"},
        {"credential_id", f->credential_id},
        {"session_id", k->session},
        {"user_id", grantee && *grantee ? grantee : NULL},
    };
    (void)buf_addc(out, '{');
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (!fields[i].value)
            continue;
        json_key(out, &first, fields[i].key);
        json_write_str(out, str_from(fields[i].value));
    }
    (void)buf_addc(out, '}');
}

static void grant_next(CredentialsCall *k)
{
    CLEANUP_BUF Buf body = BUF_INIT(SEARCH_MAX);
    Api *api = k->all->o.api;
    while (k->at < k->found.len && !k->found.ptr[k->at].winner)
        k->at++;
    if (k->at == k->found.len) {
        finish(k);
        return;
    }
    if (k->all->o.mode == GRANTS_OFF) {
        k->found.ptr[k->at++].granted = true;
        grant_next(k);
        return;
    }
    write_grant(k, &k->found.ptr[k->at], &body);
    k->call = api->ops->send(api, "POST", "/role_bindings", buf_str(&body), on_granted, k);
}

/* ---- who wins ---- */

static bool beats(const Candidate *a, const Candidate *b)
{
    if (a->tier != b->tier)
        return a->tier > b->tier;
    if (a->made.us != b->made.us)
        return a->made.us < b->made.us;
    return strcmp(a->credential_id, b->credential_id) < 0;
}

static void choose(CredentialsCall *k)
{
    VEC_FOREACH (&k->found, f) {
        f->winner = f->provider && *f->provider;
        VEC_FOREACH (&k->found, other) {
            if (other != f && other->provider && f->provider && strcmp(other->provider, f->provider) == 0 &&
                beats(other, f))
                f->winner = false;
        }
    }
    k->at = 0;
    grant_next(k);
}

/* ---- providers ---- */

static void look_next(CredentialsCall *k);

static void on_credential(void *arg, Obj *o, const Err *err)
{
    CredentialsCall *k = arg;
    CLEANUP(obj_freep) Obj *credential = o;
    Candidate *f = &k->found.ptr[k->at];
    k->call = NULL;
    if (err && err->code != ERR_NOT_FOUND && err->code != ERR_FORBIDDEN) {
        fail(k, err);
        return;
    }
    if (err) {
        f->why = xstrdup(err->code == ERR_NOT_FOUND ? "it does not exist any more" : "it may not be read");
    } else {
        f->provider = str_dup(obj_str(credential, CREDENTIAL_PROVIDER));
        f->name = str_dup(obj_str(credential, CREDENTIAL_NAME));
    }
    k->at++;
    look_next(k);
}

static void look_next(CredentialsCall *k)
{
    Api *api = k->all->o.api;
    if (k->at == k->found.len) {
        choose(k);
        return;
    }
    k->call = api->ops->get(api, &kind_credential, STR_NULL, str_from(k->found.ptr[k->at].credential_id),
                            on_credential, k);
}

/* ---- bindings ---- */

static void search_next(CredentialsCall *k);

static bool is_role(const char *role, Str id)
{
    return role && str_eqz(id, role);
}

/* Reaches this session through that tier, and is there to inject. */
static bool injects(const CredentialsCall *k, const Obj *b, Tier *ret)
{
    Str project = obj_str(b, ROLE_BINDING_PROJECT_ID), agent = obj_str(b, ROLE_BINDING_AGENT_ID);
    Str role = obj_str(b, ROLE_BINDING_ROLE_ID);
    if (obj_str(b, ROLE_BINDING_SESSION_ID).len || !obj_str(b, ROLE_BINDING_CREDENTIAL_ID).len ||
        !str_eqz(obj_str(b, ROLE_BINDING_SCOPE), "credential") || is_role(k->owner_role, role) ||
        is_role(k->reader_role, role))
        return false;
    if (!project.len && !agent.len) {
        /* What is granted to a person is for that person, not for everybody's sessions. */
        *ret = TIER_GLOBAL;
        return !obj_str(b, ROLE_BINDING_USER_ID).len;
    }
    if (!project.len || !str_eqz(project, k->project))
        return false;
    *ret = agent.len ? TIER_AGENT : TIER_PROJECT;
    return !agent.len || str_eqz(agent, k->agent);
}

static Candidate *same_credential(const CredentialsCall *k, Str id)
{
    VEC_FOREACH (&k->found, f)
        if (str_eqz(id, f->credential_id))
            return f;
    return NULL;
}

static void on_binding(void *arg, Obj *o)
{
    CredentialsCall *k = arg;
    CLEANUP(obj_freep) Obj *b = o;
    Tier tier;
    if (!injects(k, b, &tier) || k->found.len >= BINDINGS_MAX)
        return;
    Str id = obj_str(b, ROLE_BINDING_CREDENTIAL_ID);
    Candidate c = {.tier = tier, .made = obj_time(b, FIELD_CREATED_AT)};
    Candidate *known = same_credential(k, id);
    c.credential_id = known ? known->credential_id : str_dup(id);
    if (!known)
        vec_push(&k->found, c);
    else if (beats(&c, known))
        *known = c;
}

static void on_bindings(void *arg, const Err *err)
{
    CredentialsCall *k = arg;
    k->call = NULL;
    if (err) {
        fail(k, err);
        return;
    }
    search_next(k);
}

/* First all of the project, agents' included; then those that name no project. */
static void search_next(CredentialsCall *k)
{
    CLEANUP_BUF Buf search = BUF_INIT(SEARCH_MAX);
    if (k->searching == TIER_AGENT) {
        k->searching = TIER_PROJECT;
        if (*k->project) {
            (void)buf_addf(&search, "scope = 'credential' and project_id = '%s'", k->project);
            find(k, &kind_role_binding, search.data, on_binding, on_bindings);
            return;
        }
    }
    if (k->searching == TIER_PROJECT) {
        k->searching = TIER_GLOBAL;
        find(k, &kind_role_binding, "scope = 'credential' and project_id is null and session_id is null",
             on_binding, on_bindings);
        return;
    }
    k->at = 0;
    look_next(k);
}

/* ---- roles ---- */

static void on_role(void *arg, Obj *o)
{
    CredentialsCall *k = arg;
    CLEANUP(obj_freep) Obj *role = o;
    Str name = obj_str(role, ROLE_NAME);
    char **at = str_eqz(name, OWNER) ? &k->owner_role : str_eqz(name, READER) ? &k->reader_role : NULL;
    if (!at)
        return;
    free(*at);
    *at = str_dup(obj_str(role, FIELD_ID));
}

/* Without the owners' role their bindings could not be told from those that inject: then nothing is injected.
 */
static void on_roles(void *arg, const Err *err)
{
    CredentialsCall *k = arg;
    Err why = {0};
    k->call = NULL;
    if (err)
        why = *err;
    else if (!k->owner_role || !k->reader_role)
        (void)err_set(&why, ERR_UNAVAILABLE, "the server has no role %s", k->owner_role ? READER : OWNER);
    if (why.code) {
        fail(k, &why);
        return;
    }
    k->searching = TIER_AGENT;
    search_next(k);
}

static void find_roles(CredentialsCall *k, ClientListDone done)
{
    find(k, &kind_role, "name in ('" OWNER "', '" READER "')", on_role, done);
}

CredentialsCall *credentials_resolve(Credentials *c, const CredentialsFor *f, CredentialsDone done, void *arg)
{
    CredentialsCall *k = call_new(c, f->session_id, arg);
    k->done = done;
    k->project = str_dup(f->project_id);
    k->agent = str_dup(f->agent_id);
    if (!is_plain(k->project)) /* no project of this name exists */
        *k->project = '\0';
    find_roles(k, on_roles);
    return k;
}

/* ---- taking back ---- */

static void revoke_next(CredentialsCall *k);

static void revoke_end(CredentialsCall *k)
{
    RevokeDone done = k->revoked;
    void *arg = k->arg;
    Err why = k->failed;
    call_free(k);
    done(arg, why.code ? &why : NULL);
}

static void on_deleted(void *arg, const json_t *body, const Err *err)
{
    CredentialsCall *k = arg;
    k->call = NULL;
    if (err && err->code != ERR_NOT_FOUND)
        k->failed = *err; /* the others are taken back all the same */
    revoke_next(k);
}

static void revoke_next(CredentialsCall *k)
{
    Api *api = k->all->o.api;
    if (!k->bindings.len) {
        revoke_end(k);
        return;
    }
    CLEANUP_FREE char *id = k->bindings.ptr[--k->bindings.len];
    CLEANUP_FREE char *path = xasprintf("/role_bindings/%s", id);
    k->call = api->ops->send(api, "DELETE", path, STR_NULL, on_deleted, k);
}

static void on_grant(void *arg, Obj *o)
{
    CredentialsCall *k = arg;
    CLEANUP(obj_freep) Obj *b = o;
    const char *id = obj_cstr(b, FIELD_ID);
    if (*id && is_plain(id) && str_eqz(obj_str(b, ROLE_BINDING_SESSION_ID), k->session))
        vec_push(&k->bindings, xstrdup(id));
}

static void on_grants(void *arg, const Err *err)
{
    CredentialsCall *k = arg;
    k->call = NULL;
    if (err) {
        k->failed = *err;
        revoke_end(k);
        return;
    }
    revoke_next(k);
}

CredentialsCall *credentials_revoke(Credentials *c, Str session_id, RevokeDone done, void *arg)
{
    CredentialsCall *k = call_new(c, session_id, arg);
    CLEANUP_BUF Buf search = BUF_INIT(SEARCH_MAX);
    k->revoked = done;
    assert(is_plain(k->session));
    (void)buf_addf(&search, "scope = 'credential' and session_id = '%s'", k->session);
    find(k, &kind_role_binding, search.data, on_grant, on_grants);
    return k;
}

/* ---- all of them ---- */

static void on_any_grant(void *arg, Obj *o)
{
    CredentialsCall *k = arg;
    CLEANUP(obj_freep) Obj *b = o;
    Str session = obj_str(b, ROLE_BINDING_SESSION_ID);
    if (session.len)
        k->each(k->arg, session);
}

static void on_all_grants(void *arg, const Err *err)
{
    CredentialsCall *k = arg;
    k->call = NULL;
    if (err)
        k->failed = *err;
    revoke_end(k);
}

CredentialsCall *credentials_each_grant(Credentials *c, GrantEach each, RevokeDone done, void *arg)
{
    CredentialsCall *k = call_new(c, STR_NULL, arg);
    k->each = each;
    k->revoked = done;
    find(k, &kind_role_binding, "scope = 'credential' and session_id is not null", on_any_grant,
         on_all_grants);
    return k;
}
