#include "service/service.h"

#include "service-internal.h"
#include "store/secrets.h"

#define PENDING_MAX ((size_t)256 << 20)

Service *service_new(Loop *l, const ServiceOptions *o)
{
    Service *s = xnew(Service);
    s->refs = 1;
    s->loop = l;
    s->store = o->store;
    s->keys = o->keys;
    s->authz_off = o->authz_off;
    s->session_token_life = o->session_token_life;
    s->wait_max = o->wait_max ? o->wait_max : USEC_NEVER;
    s->pending_max = o->pending_max ? o->pending_max : PENDING_MAX;
    s->service_account = o->service_account && *o->service_account ? xstrdup(o->service_account) : NULL;
    s->rights = map_new();
    s->known_users = map_new();
    return s;
}

Service *service_unref(Service *s)
{
    if (!s || --s->refs)
        return NULL;
    access_done(s);
    free(s->service_account);
    secret_free(s->session_key);
    map_free(s->known_users);
    free(s);
    return NULL;
}

void service_stop(Service *s)
{
    s->stopped = true;
}

Service *service_free(Service *s)
{
    return service_unref(s);
}

Store *service_store(Service *s)
{
    return s->store;
}

uint64_t svc_changes(const Service *s)
{
    return s->changes;
}

void svc_note_commit(Service *s, const CommitNote *note)
{
    s->changes += note->last_event != 0;
}

const char *svc_public_reason(const Err *err)
{
    switch (err->code) {
    case ERR_INTERNAL:
    case ERR_IO:
    case ERR_CORRUPT:
    case ERR_NO_SPACE:
        return err_info(err->code)->reason;
    default:
        return err->msg;
    }
}

bool svc_reason_is_private(const Err *err)
{
    return svc_public_reason(err) != err->msg;
}

const KindRules *rules_of(const Kind *k)
{
    static const KindRules *const all[] = {
        &rules_project,      &rules_project_settings, &rules_user,
        &rules_agent,        &rules_session,          &rules_inbox,
        &rules_credential,   &rules_audit_event,      &rules_scheduled_session,
        &rules_schedule_run, &rules_application,      &rules_role,
        &rules_role_binding};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i]->kind == k)
            return all[i];
    return NULL;
}

/* ---- start-up ---- */

typedef struct Load {
    Service *s;
    Secret *session_key;
    void (*done)(void *arg, const Err *err);
    void *arg;
    Err err;
} Load;

/* A secret whose key is missing would be an error later, to somebody who cannot help it. */
static int check_secret(void *arg, const StoredSecret *s, Err *err)
{
    const Load *ld = arg;
    int64_t version = -1;
    if (sealed_form(s->value, &version) != SEALED_GOOD || keyring_has(ld->s->keys, version))
        return 0;
    return err_set(err, ERR_PRECONDITION,
                   "%s " STR_FMT " is encrypted with key v%lld, which is not in "
                   "CREDENTIAL_ENCRYPTION_KEYRING",
                   s->table, STR_ARG(s->id), (long long)version);
}

static int load_job(Tx *tx, void *arg, Err *err)
{
    Load *ld = arg;
    CLEANUP_FREE char *binding = NULL;
    bool made;
    ld->session_key = secret_free(ld->session_key);
    int rc = tx_secrets_read(tx, check_secret, ld, err);
    if (rc == 0)
        rc = session_key_load(ld->s, tx, &ld->session_key, err);
    if (rc < 0)
        return rc;
    rc = seed_roles(tx, err);
    if (rc == 0 && ld->s->service_account)
        rc = seed_admin(tx, str_from(ld->s->service_account), true, &binding, &made, err);
    return rc < 0 ? err_wrap(err, "roles of the platform") : 0;
}

static void load_finished(void *arg, int rc, const Err *err)
{
    Load *ld = arg;
    if (rc == 0)
        ld->s->session_key = TAKE(ld->session_key);
    ld->done(ld->arg, rc < 0 ? err : NULL);
    secret_free(ld->session_key);
    service_unref(ld->s);
    free(ld);
}

static void load_refused(void *arg)
{
    Load *ld = arg;
    load_finished(ld, -(int)ld->err.code, &ld->err);
}

void service_load(Service *s, void (*done)(void *arg, const Err *err), void *arg)
{
    Load *ld = xnew(Load);
    ld->s = service_ref(s);
    ld->done = done;
    ld->arg = arg;
    if (store_submit(s->store, STORE_WRITE, load_job, load_finished, ld, &ld->err) < 0)
        loop_post(s->loop, load_refused, ld);
}
