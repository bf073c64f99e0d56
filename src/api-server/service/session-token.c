/*
 * Tokens of sessions: the key that signs them, kept in the store for all replicas, and minting. What a
 * session may do with its token is in access.c. docs/decisions/0013-session-tokens.md
 */
#include "service-internal.h"

#include "auth/session-token.h"
#include "base/log.h"
#include "base/random.h"
#include "crypto/crypto.h"
#include "store/secrets.h"

#define KEY_NAME "session-token-key"
#define LIFE_DEFAULT (3600 * USEC_PER_SEC)
#define TEXT_MAX ((size_t)4096)

/* ---- the key ---- */

static void buf_erase(Buf *b)
{
    if (b->data)
        secret_erase(b->data, b->len);
    buf_done(b);
}

static void text_erase(char **s)
{
    if (*s)
        secret_erase(*s, strlen(*s));
    free(*s);
}

/* Sealed when there is a key ring; appends the form that is stored. */
static int stored_form(const Service *s, Str text, Buf *out, Err *err)
{
    if (keyring_active(s->keys) < 0)
        return buf_adds(out, text);
    return keyring_seal(s->keys, text, STR(KEY_NAME), out, err);
}

static int make_key(Service *s, Tx *tx, Err *err)
{
    CLEANUP(buf_erase) Buf text = BUF_INIT(TEXT_MAX), form = BUF_INIT(TEXT_MAX);
    uint8_t raw[SESSION_KEY_LEN];
    random_bytes(raw, sizeof(raw));
    base64_write(&text, raw, sizeof(raw));
    secret_erase(raw, sizeof(raw));
    int rc = stored_form(s, buf_str(&text), &form, err);
    return rc < 0 ? rc : tx_platform_secret_put(tx, STR(KEY_NAME), buf_str(&form), err);
}

/* A key that was stored before there was a ring is sealed now. */
static int seal_key(Service *s, Tx *tx, Str form, const Secret *text, Err *err)
{
    CLEANUP(buf_erase) Buf sealed = BUF_INIT(TEXT_MAX);
    bool swapped = false;
    if (keyring_active(s->keys) < 0 || sealed_form(form, NULL) != SEALED_NOT)
        return 0;
    int rc = stored_form(s, secret_reveal(text), &sealed, err);
    return rc < 0 ? rc : tx_platform_secret_swap(tx, STR(KEY_NAME), form, buf_str(&sealed), &swapped, err);
}

static int read_key(Service *s, Tx *tx, Secret **ret, Err *err)
{
    CLEANUP(text_erase) char *form = NULL;
    CLEANUP(secret_freep) Secret *text = NULL;
    CLEANUP(buf_erase) Buf raw = BUF_INIT(TEXT_MAX);
    int rc = tx_platform_secret_get(tx, STR(KEY_NAME), &form, err);
    if (rc == 0)
        rc = keyring_open(s->keys, str_from(form), STR(KEY_NAME), &text, err);
    if (rc < 0)
        return rc;
    if (base64_read(secret_reveal(text), &raw) < 0 || raw.len != SESSION_KEY_LEN)
        return err_set(err, ERR_CORRUPT, "the key of session tokens is damaged");
    rc = seal_key(s, tx, str_from(form), text, err);
    if (rc == 0)
        *ret = secret_new(buf_str(&raw));
    return rc;
}

int session_key_load(Service *s, Tx *tx, Secret **ret, Err *err)
{
    Err why = {0};
    int rc = read_key(s, tx, ret, &why);
    if (rc == 0)
        return 0;
    if (rc != -ERR_NOT_FOUND) {
        if (err)
            *err = why;
        return err_wrap(err, "key of session tokens");
    }
    rc = make_key(s, tx, err);
    return rc < 0 ? rc : read_key(s, tx, ret, err); /* what another replica may have stored first */
}

const Secret *service_session_key(const Service *s)
{
    return s->session_key;
}

/* ---- minting ---- */

/* Rows of the reference have no run id: then the session's own stands for its only run. */
static Str run_of(const Obj *session)
{
    Str run = obj_str(session, SESSION_RUN_ID);
    return run.len ? run : obj_str(session, FIELD_ID);
}

bool session_token_counts(const Obj *session, const char *run_id)
{
    return !phase_is_terminal(obj_phase(session)) && str_eqz(run_of(session), run_id);
}

static int mint(Op *op, Tx *tx, const Obj *session, Err *err)
{
    CLEANUP(buf_erase) Buf text = BUF_INIT(TEXT_MAX);
    const Service *s = op->s;
    SessionToken t = {.issued = tx_now(tx)};
    op->expires.us = t.issued.us + (int64_t)(s->session_token_life ? s->session_token_life : LIFE_DEFAULT);
    op->expires.us -= op->expires.us % (int64_t)USEC_PER_SEC;
    t.expires = op->expires;
    (void)snprintf(t.session_id, sizeof(t.session_id), "%s", obj_cstr(session, FIELD_ID));
    (void)snprintf(t.run_id, sizeof(t.run_id), STR_FMT, STR_ARG(run_of(session)));
    int rc = session_token_make(s->session_key, &t, &text, err);
    if (rc == 0)
        op->secret = secret_new(buf_str(&text));
    return rc;
}

static int run_token(Op *op, Tx *tx, Err *err)
{
    CLEANUP(obj_freep) Obj *session = NULL;
    int rc = op_load(op, tx, VERB_TOKEN, &session, err);
    if (rc < 0)
        return rc;
    if (phase_is_terminal(obj_phase(session)))
        return err_set(err, ERR_CONFLICT, "session in phase \"%s\" has no token; it is not running",
                       phase_name(obj_phase(session)));
    rc = mint(op, tx, session, err);
    if (rc == 0)
        op->obj = TAKE(session);
    return rc;
}

static void token_was_minted(Op *op)
{
    audit_log(op, "session:token", op->obj);
}

void svc_session_token(Service *s, const SvcCtx *x, Str id, SvcDone done, void *arg)
{
    const SvcTarget t = {.kind = &kind_session, .id = id};
    Op *op = target_op(s, x, &t, STORE_READ, run_token, done, arg);
    op->committed = token_was_minted;
    op->render = NULL;
    op_submit(op);
}
