/*
 * Changes of a session that have a route of their own: repositories, workflow, model, name, and copies of it.
 * rest-core.md 11.2. Reading, changing and writing is one transaction, so two of them never undo each other.
 */
#include "service-internal.h"

#define REPO_NAME_MAX 100
#define REPOS_MAX 100
#define URL_LEN_MAX 2048
#define NAME_MAX_LEN 255
#define CLONE_SUFFIX "-clone"

/* ---- repositories ---- */

/* The runner makes a folder of it. */
static bool repo_name_ok(Str s)
{
    if (!s.len || s.len > REPO_NAME_MAX || str_eqz(s, ".") || str_eqz(s, ".."))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!path_id_ok((Str){s.ptr + i, 1}) && s.ptr[i] != '.')
            return false;
    return true;
}

/* The last segment of the address, without ".git". */
static Str repo_name_of_url(Str url)
{
    while (url.len && url.ptr[url.len - 1] == '/')
        url.len--;
    for (ptrdiff_t at; (at = str_find_byte(url, '/')) >= 0 || (at = str_find_byte(url, ':')) >= 0;)
        url = str_slice(url, (size_t)at + 1, url.len);
    return str_ends(url, STR(".git")) ? str_slice(url, 0, url.len - 4) : url;
}

static bool holds_password(Str url)
{
    ptrdiff_t scheme = str_find(url, STR("://"));
    if (scheme < 0)
        return false;
    Str rest = str_slice(url, (size_t)scheme + 3, url.len);
    Str authority = str_cut(&rest, '/');
    ptrdiff_t at = str_find_byte(authority, '@');
    return at >= 0 && str_find_byte(str_slice(authority, 0, (size_t)at), ':') >= 0;
}

/* It becomes an argument of git: nothing that looks like an option, nothing that is a secret. */
static int check_git_text(const char *what, Str s, Err *err)
{
    if (s.len > URL_LEN_MAX)
        return err_set(err, ERR_INVALID, "%s exceeds maximum length of %d", what, URL_LEN_MAX);
    if (s.len && s.ptr[0] == '-')
        return err_set(err, ERR_INVALID, "%s must not start with '-'", what);
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
            return err_set(err, ERR_INVALID, "%s must not hold blanks or control characters", what);
    if (!str_is_utf8(s))
        return err_set(err, ERR_INVALID, "%s must be UTF-8", what);
    if (holds_password(s))
        return err_set(err, ERR_INVALID, "%s must not hold a password: use a credential", what);
    return 0;
}

/* Entries are {url, branch?, name?, autoPush?}; old ones have url and branch below `input`. */
static Str repo_url(const json_t *entry)
{
    Str url = json_get_strv(entry, "url");
    return url.len ? url : json_get_strv(json_get_obj(entry, "input"), "url");
}

static Str repo_name(const json_t *entry)
{
    Str name = json_get_strv(entry, "name");
    return name.len ? name : repo_name_of_url(repo_url(entry));
}

static json_t *repo_entry(Str url, Str branch, bool auto_push)
{
    json_t *o = json_object();
    json_object_set_new(o, "url", json_strv(url));
    json_object_set_new(o, "branch", json_strv(branch.len ? branch : STR("main")));
    json_object_set_new(o, "name", json_strv(repo_name_of_url(url)));
    if (auto_push)
        json_object_set_new(o, "autoPush", json_true());
    return o;
}

/* Without a list the session has the one repository of repo_url, which a list then has to hold. */
static int load_repos(const Obj *now, json_t **ret, Err *err)
{
    CLEANUP_JSON json_t *list = NULL;
    Str text = obj_str(now, SESSION_REPOS), url = obj_str(now, SESSION_REPO_URL);
    if (text.len && (json_parse(text, &list, NULL) < 0 || (!json_is_array(list) && !json_is_null(list))))
        return err_set(err, ERR_CONFLICT, "the session's repos are not a JSON array; set them anew first");
    if (!json_is_array(list)) {
        json_decref(list);
        list = json_array();
    }
    if (!json_array_size(list) && url.len) {
        json_t *entry = json_object();
        json_object_set_new(entry, "url", json_strv(url));
        json_array_append_new(list, entry);
    }
    *ret = TAKE(list);
    return 0;
}

static int store_repos(const json_t *list, Obj *changes, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(FIELD_LEN_DEFAULT);
    json_write_plain(&text, list);
    if (text.failed)
        return err_set(err, ERR_INVALID, "repos exceeds maximum length of %zu", FIELD_LEN_DEFAULT);
    obj_set_str(changes, SESSION_REPOS, buf_str(&text));
    return 0;
}

static int check_new_repo(Str url, Str branch, Err *err)
{
    if (!url.len)
        return err_set(err, ERR_INVALID, "url is required");
    int rc = check_git_text("url", url, err);
    if (rc == 0)
        rc = check_git_text("branch", branch, err);
    if (rc == 0 && !repo_name_ok(repo_name_of_url(url)))
        return err_set(err, ERR_INVALID, "url does not end in a usable name of a repository");
    return rc;
}

static int edit_repo_add(Op *op, const Obj *now, Obj *changes, Err *err)
{
    const SvcSessionEdit *e = &op->edit;
    CLEANUP_JSON json_t *list = NULL;
    json_t *entry;
    size_t i;
    int rc = check_new_repo(e->value, e->branch, err);
    if (rc == 0)
        rc = load_repos(now, &list, err);
    if (rc < 0)
        return rc;
    json_array_foreach(list, i, entry)
    {
        if (str_eq(repo_name(entry), repo_name_of_url(e->value)))
            return err_set(err, ERR_CONFLICT, "the session already has a repository named \"" STR_FMT "\"",
                           STR_ARG(repo_name(entry)));
    }
    if (json_array_size(list) >= REPOS_MAX)
        return err_set(err, ERR_INVALID, "a session has at most %d repositories", REPOS_MAX);
    json_array_append_new(list, repo_entry(e->value, e->branch, e->auto_push));
    return store_repos(list, changes, err);
}

/* An unknown name is fine, and changes nothing. */
static int edit_repo_remove(Op *op, const Obj *now, Obj *changes, Err *err)
{
    CLEANUP_JSON json_t *list = NULL;
    bool found = false;
    int rc = load_repos(now, &list, err);
    if (rc < 0)
        return rc;
    for (size_t i = json_array_size(list); i-- > 0;) {
        if (!str_eq(repo_name(json_array_get(list, i)), op->edit.value))
            continue;
        json_array_remove(list, i);
        found = true;
    }
    if (!found)
        return 0;
    if (!json_array_size(list))
        obj_set_null(changes, SESSION_REPO_URL);
    return store_repos(list, changes, err);
}

/* ---- workflow, model, name ---- */

static int edit_workflow(Op *op, const Obj *now, Obj *changes, Err *err)
{
    const SvcSessionEdit *e = &op->edit;
    CLEANUP_BUF Buf text = BUF_INIT(FIELD_LEN_DEFAULT);
    if (!e->value.len)
        return err_set(err, ERR_INVALID, "git_url is required");
    int rc = check_git_text("git_url", e->value, err);
    if (rc == 0)
        rc = check_git_text("branch", e->branch, err);
    if (rc == 0)
        rc = check_git_text("path", e->path, err);
    if (rc < 0)
        return rc;
    (void)buf_addz(&text, "{\"git_url\":");
    json_write_str_plain(&text, e->value);
    (void)buf_addz(&text, ",\"branch\":");
    json_write_str_plain(&text, e->branch.len ? e->branch : STR("main"));
    (void)buf_addz(&text, ",\"path\":");
    json_write_str_plain(&text, e->path);
    (void)buf_addc(&text, '}');
    obj_set_str(changes, SESSION_WORKFLOW_ID, buf_str(&text));
    return 0;
}

static int set_text(int field, const char *what, Str value, Obj *changes, Err *err)
{
    if (!value.len)
        return err_set(err, ERR_INVALID, "%s is required", what);
    if (value.len > kind_session.fields[field].max_len)
        return err_set(err, ERR_INVALID, "%s exceeds maximum length of %zu", what,
                       kind_session.fields[field].max_len);
    if (!str_is_utf8(value))
        return err_set(err, ERR_INVALID, "%s must be UTF-8", what);
    obj_set_str(changes, field, value);
    return 0;
}

static int edit_model(Op *op, const Obj *now, Obj *changes, Err *err)
{
    return set_text(SESSION_LLM_MODEL, "model", op->edit.value, changes, err);
}

static int edit_name(Op *op, const Obj *now, Obj *changes, Err *err)
{
    return set_text(SESSION_NAME, "name", op->edit.value, changes, err);
}

/* ---- the operation ---- */

static int (*const edits[_EDIT_MAX])(Op *op, const Obj *now, Obj *changes, Err *err) = {
    [EDIT_REPO_ADD] = edit_repo_add, [EDIT_REPO_REMOVE] = edit_repo_remove,
    [EDIT_WORKFLOW] = edit_workflow, [EDIT_MODEL] = edit_model,
    [EDIT_NAME] = edit_name,
};

static int run_edit(Op *op, Tx *tx, Err *err)
{
    CLEANUP(obj_freep) Obj *now = NULL;
    CLEANUP(obj_freep) Obj *changes = obj_new(&kind_session);
    bool changed;
    int rc = op_load(op, tx, VERB_UPDATE, &now, err);
    if (rc == 0)
        rc = edits[op->edit.what](op, now, changes, err);
    if (rc == 0)
        rc = tx_update(tx, &kind_session, op->id, changes, &changed, &op->obj, err);
    return rc;
}

void svc_session_edit(Service *s, const SvcCtx *x, Str id, const SvcSessionEdit *e, SvcDone done, void *arg)
{
    Op *op = session_op(s, x, run_edit, id, done, arg);
    op->edit = (SvcSessionEdit){
        .what = e->what,
        .value = op_keep(op, e->value),
        .branch = op_keep(op, e->branch),
        .path = op_keep(op, e->path),
        .auto_push = e->auto_push,
    };
    op_submit(op);
}

/* ---- clone ---- */

static void name_clone(const Obj *source, Obj *o)
{
    Str name = obj_str(source, SESSION_NAME);
    size_t most = NAME_MAX_LEN - (sizeof(CLONE_SUFFIX) - 1);
    name = str_slice(name, 0, most);
    while (name.len && !str_is_utf8(name)) /* not in the middle of a character */
        name.len--;
    CLEANUP_FREE char *text = xasprintf(STR_FMT CLONE_SUFFIX, STR_ARG(name));
    obj_set_str(o, SESSION_NAME, str_from(text));
}

/* Everything that its creator chose; nothing of what happened to it. */
static Obj *clone_of(const Obj *source)
{
    Obj *o = obj_new(&kind_session);
    for (size_t i = FIELD_FIRST; i < kind_session.n_fields; i++)
        if ((kind_session.fields[i].flags & F_CREATE) && obj_has(source, (int)i))
            obj_copy_value(o, (int)i, source, (int)i);
    if (!obj_has(o, SESSION_PROJECT_ID)) /* the header has no say in it */
        obj_set_null(o, SESSION_PROJECT_ID);
    name_clone(source, o);
    obj_set_str(o, SESSION_PARENT_SESSION_ID, obj_str(source, FIELD_ID));
    return o;
}

static int run_clone(Op *op, Tx *tx, Err *err)
{
    CLEANUP(obj_freep) Obj *source = NULL;
    int rc = request_replay(op, tx, &kind_session, &op->obj, err);
    if (rc < 0 || op->obj)
        return rc;
    /* A copy is another session: who may not make one there may not copy one. */
    rc = op_load(op, tx, VERB_CREATE, &source, err);
    return rc < 0 ? rc : create_object(op, tx, clone_of(source), err);
}

void svc_session_clone(Service *s, const SvcCtx *x, Str id, SvcDone done, void *arg)
{
    op_submit(session_op(s, x, run_clone, id, done, arg));
}
