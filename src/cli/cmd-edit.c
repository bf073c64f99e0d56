/*
 * edit: the members that may be changed, as YAML, in the person's editor. What the server refuses, and what
 * somebody else changed meanwhile, opens the editor again with the reason on top, so that no work is lost.
 * The file is readable by its owner only and goes away in any case.
 */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "apply.h"
#include "base/file.h"
#include "base/mem.h"
#include "manifest.h"
#include "options.h"
#include "output.h"
#include "resource.h"
#include "yaml/yaml.h"

extern char **environ;

typedef struct Edit {
    App *app;
    const Resource *r;
    char *path, *name;
    char *file;     /* temporary */
    json_t *live;   /* as the server has it */
    char etag[160]; /* of that version */
    Buf text;       /* what is in the editor, without the reason */
} Edit;

static void edit_done(Edit *e)
{
    if (e->file)
        (void)unlink(e->file);
    free(e->file);
    free(e->path);
    free(e->name);
    json_decref(e->live);
    buf_done(&e->text);
}

/* ---- the text ---- */

static json_t *editable(const Edit *e)
{
    const Kind *k = e->r->kind;
    json_t *out = json_object();
    for (size_t i = FIELD_FIRST; i < k->n_fields; i++) {
        const Field *f = &k->fields[i];
        json_t *v = json_object_get(e->live, f->json);
        if (!v || !(f->flags & F_PATCH) || f->flags & (F_WRITE_ONLY | F_INTERNAL))
            continue;
        CLEANUP_JSON json_t *inner = NULL;
        if (f->flags & F_STRING_MAP)
            inner = map_of_text(v);
        json_object_set(out, f->json, inner ? inner : v);
    }
    return out;
}

static int fill_text(Edit *e, Err *err)
{
    CLEANUP_JSON json_t *members = editable(e);
    buf_clear(&e->text);
    return json_object_size(members) ? yaml_write(&e->text, members, err) : 0;
}

static int read_live(Edit *e, Err *err)
{
    Exchange x = {.method = "GET", .path = e->path};
    int rc = app_exchange(e->app, &x, err);
    if (rc < 0)
        return rc;
    json_decref(e->live);
    e->live = x.answer;
    memcpy(e->etag, x.etag, sizeof(e->etag));
    return 0;
}

static int write_file(Edit *e, const char *reason, Err *err)
{
    CLEANUP_BUF Buf b = BUF_INIT(YAML_SIZE_MAX);
    buf_addf(&b, "# %s/%s. Lines that begin with '#' are ignored; an empty file leaves it as it is.\n",
             e->r->noun, e->name);
    Str rest = str_from(reason);
    while (rest.ptr) {
        Str line = str_cut(&rest, '\n');
        buf_addf(&b, "# " STR_FMT "\n", STR_ARG(line));
    }
    buf_adds(&b, buf_str(&e->text));
    int rc = buf_check(&b, err);
    return rc < 0 ? rc : file_write_atomic(e->file, buf_str(&b), 0600, err);
}

static int make_file(Edit *e, Err *err)
{
    const char *dir = getenv("TMPDIR");
    CLEANUP_FREE char *path = xasprintf("%s/acpctl-edit-XXXXXX.yaml", dir && *dir ? dir : "/tmp");
    int fd = mkostemps(path, 5, O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "%s", path);
    (void)close(fd);
    e->file = TAKE(path);
    return 0;
}

/* ---- the editor ---- */

/* With its own idea of what an interrupt does. */
static int spawn_editor(char **argv, pid_t *ret)
{
    posix_spawnattr_t attr;
    sigset_t own;
    int rc = posix_spawnattr_init(&attr);
    if (rc != 0)
        return rc;
    sigemptyset(&own);
    sigaddset(&own, SIGINT);
    (void)posix_spawnattr_setsigdefault(&attr, &own);
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
    rc = posix_spawn(ret, "/bin/sh", NULL, &attr, argv, environ);
    (void)posix_spawnattr_destroy(&attr);
    return rc;
}

/* By the shell, as editors are set with options: EDITOR="code -w". */
static int run_editor(App *app, const char *file, Err *err)
{
    const char *editor = getenv("EDITOR");
    if (!editor || !*editor)
        editor = getenv("VISUAL");
    if (!editor || !*editor)
        editor = "vi";
    CLEANUP_FREE char *script = xasprintf("%s \"$1\"", editor);
    CLEANUP_FREE char *copy = xstrdup(file);
    char sh[] = "sh", c[] = "-c", name[] = "acpctl-editor";
    char *argv[] = {sh, c, script, name, copy, NULL};
    pid_t pid = 0;
    /* The keys are the editor's; we stay to take the file away. */
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    (void)sigaction(SIGINT, &ignore, &before);
    int status = 0, rc = spawn_editor(argv, &pid);
    while (rc == 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    (void)sigaction(SIGINT, &before, NULL);
    if (rc != 0)
        return err_set_errno(err, rc, "editor %s", editor);
    if (WIFSIGNALED(status) ? WTERMSIG(status) == SIGINT : WEXITSTATUS(status) == 128 + SIGINT)
        app->exit_code = 128 + SIGINT;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return err_set(err, ERR_CANCELLED, "editor %s failed: nothing is changed", editor);
    return 0;
}

/* What came back, without the comment lines on top. */
static int read_file(Edit *e, Err *err)
{
    CLEANUP_BUF Buf b = BUF_INIT(YAML_SIZE_MAX);
    int rc = file_read(e->file, &b, err);
    if (rc < 0)
        return rc;
    Str rest = buf_str(&b);
    while (rest.len && rest.ptr[0] == '#') {
        Str line = str_cut(&rest, '\n');
        rest = rest.ptr ? rest : str_slice(line, line.len, line.len);
    }
    buf_clear(&e->text);
    buf_adds(&e->text, rest);
    return 0;
}

/* ---- what changed ---- */

/* Members that were taken out become null. */
static int make_body(Edit *e, json_t **ret, Err *err)
{
    CLEANUP_DOCS Docs docs = {0};
    CLEANUP_FREE char *full = xasprintf("kind: %s\n" STR_FMT, e->r->kind->name, STR_ARG(buf_str(&e->text)));
    CLEANUP_JSON json_t *before = editable(e);
    CLEANUP_JSON json_t *body = json_object();
    int rc = docs_parse(&docs, str_from(full), "text", NULL, true, err);
    if (rc == 0 && docs.len != 1)
        rc = err_set(err, ERR_INVALID, "one document is wanted");
    if (rc < 0)
        return rc;
    const char *key;
    json_t *v;
    json_object_del(docs.ptr[0]->body, "kind");
    json_object_foreach(docs.ptr[0]->body, key, v)
    {
        int i = kind_field(e->r->kind, str_from(key));
        if (i < 0 || !(e->r->kind->fields[i].flags & F_PATCH))
            return err_set(err, ERR_INVALID, "%s: no such member, or not one that can be changed", key);
        if (!field_equal(&e->r->kind->fields[i], v, json_object_get(e->live, key)))
            json_object_set_new(body, key, wire_value(&e->r->kind->fields[i], v));
    }
    json_object_foreach(before, key, v)
    {
        if (!json_object_get(docs.ptr[0]->body, key))
            json_object_set_new(body, key, json_null());
    }
    *ret = TAKE(body);
    return 0;
}

static int send(Edit *e, const json_t *body, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(16 * 1024 * 1024);
    json_write(&text, body);
    Exchange x = {
        .method = "PATCH", .path = e->path, .body = buf_str(&text), .if_match = *e->etag ? e->etag : NULL};
    int rc = app_exchange(e->app, &x, err);
    json_decref(x.answer);
    return rc;
}

/* Somebody else was faster: the comparison is with the new version from now on, the person's text stays. */
static int explain_conflict(Edit *e, Buf *reason, Err *err)
{
    CLEANUP_JSON json_t *old = editable(e);
    int rc = read_live(e, err);
    if (rc < 0)
        return rc;
    CLEANUP_JSON json_t *now = editable(e);
    buf_addz(reason, "It was changed by somebody else meanwhile. Saving again replaces what they changed:");
    const char *key;
    json_t *v;
    json_object_foreach(now, key, v)
    {
        if (json_equal(v, json_object_get(old, key)))
            continue;
        CLEANUP_BUF Buf text = BUF_INIT(1024 * 1024);
        json_write_plain(&text, v);
        buf_addf(reason, "\n  %s: %.200s", key, text.data);
    }
    return 0;
}

static bool worth_reopening(int rc)
{
    return rc == -ERR_INVALID || rc == -ERR_MALFORMED || rc == -ERR_BAD_REQUEST || rc == -ERR_CONFLICT;
}

/* One turn of the editor. 1 = once more, with *reason on top. */
static int turn(Edit *e, Buf *reason, Err *err)
{
    CLEANUP_JSON json_t *body = NULL;
    CLEANUP_FREE char *before = str_dup(buf_str(&e->text));
    Err why = {0};
    int rc = write_file(e, reason->data, err);
    if (rc == 0)
        rc = run_editor(e->app, e->file, err);
    if (rc == 0)
        rc = read_file(e, err);
    if (rc < 0)
        return rc;
    bool same = str_eqz(buf_str(&e->text), before);
    if (!str_trim(buf_str(&e->text)).len || (same && reason->len)) {
        puts("Edit cancelled, no changes made.");
        return 0;
    }
    buf_clear(reason);
    rc = make_body(e, &body, &why);
    if (rc == 0 && !json_object_size(body)) {
        puts("Edit cancelled, no changes made.");
        return 0;
    }
    if (rc == 0)
        rc = send(e, body, &why);
    if (rc == -ERR_PRECONDITION)
        return explain_conflict(e, reason, err) < 0 ? -(int)err->code : 1;
    if (worth_reopening(rc)) {
        buf_addz(reason, why.msg);
        return 1;
    }
    if (rc < 0)
        return err_set(err, why.code, "%s", why.msg);
    printf("%s/%s edited\n", e->r->noun, e->name);
    return 0;
}

static int cmd_edit(App *app, const Args *a, Err *err)
{
    CLEANUP(edit_done) Edit e = {.app = app, .text = BUF_INIT(YAML_SIZE_MAX)};
    CLEANUP_BUF Buf reason = BUF_INIT(64 * 1024);
    e.name = xstrdup(arg_at(a, 1));
    int rc = resource_need(arg_at(a, 0), &e.r, err);
    if (rc == 0)
        rc = resource_resolve(app, e.r, e.name, &e.path, NULL, err);
    if (rc == 0)
        rc = read_live(&e, err);
    if (rc == 0)
        rc = fill_text(&e, err);
    if (rc == 0)
        rc = make_file(&e, err);
    while (rc == 0 && (rc = turn(&e, &reason, err)) == 1)
        rc = 0;
    return rc;
}

static const Opt opts_edit[] = {OPTS_PROJECT, {0}};

const Command commands_edit[] = {
    {.words = "edit",
     .usage = "RESOURCE NAME",
     .min = 2,
     .max = 2,
     .help = "Change a resource in your editor ($EDITOR, $VISUAL, vi)",
     .opts = opts_edit,
     .run = cmd_edit,
     .text = "The editor opens again, with the reason on top, when the server refuses the change or somebody "
             "else was "
             "faster. A member that is taken out is cleared.",
     .examples = "edit agent reviewer"},
    {0},
};
