#include "workflow.h"

#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"

#define FILE_MAX ((size_t)256 << 10)
#define FILES_MAX 200
#define LIST_MAX ((size_t)1 << 20)

/* Relative to the workspace; NULL = no workflow that could be read. */
static char *root_of(const Repos *repos)
{
    const Repo *w = repos_workflow(repos);

    if (!w || w->state != REPO_READY)
        return NULL;
    return xasprintf("workflows/%s%s%s", w->name, w->sub_path ? "/" : "", w->sub_path ? w->sub_path : "");
}

static bool read_text(const Workspace *w, const char *path, Buf *out)
{
    CLEANUP_FD int fd = -1;
    uint64_t size;

    buf_clear(out);
    if (workspace_open(w, str_from(path), &fd, &size, NULL) < 0 || size > FILE_MAX)
        return false;
    char *room = buf_reserve(out, (size_t)size);
    ssize_t n = room ? read(fd, room, (size_t)size) : -1;
    if (n > 0)
        buf_commit(out, (size_t)n);
    return n >= 0;
}

Str front_matter(Str text, const char *key)
{
    Str rest = text, line = str_trim(str_cut(&rest, '\n'));

    if (!str_eqz(line, "---"))
        return STR_NULL;
    while (rest.ptr) {
        line = str_cut(&rest, '\n');
        if (str_eqz(str_trim(line), "---"))
            return STR_NULL;
        Str value = line, name = str_trim(str_cut(&value, ':'));
        if (value.ptr && str_eqz(name, key)) {
            value = str_trim(value);
            bool quoted = value.len >= 2 && value.ptr[0] == value.ptr[value.len - 1] &&
                          (value.ptr[0] == '"' || value.ptr[0] == '\'');
            return quoted ? str_slice(value, 1, value.len - 1) : value;
        }
    }
    return STR_NULL;
}

/* ---- the configuration ---- */

json_t *workflow_config(const Repos *repos, const Workspace *w)
{
    CLEANUP_FREE char *root = root_of(repos);
    CLEANUP_FREE char *path = root ? xasprintf("%s/.ambient/ambient.json", root) : NULL;
    CLEANUP_BUF Buf text = BUF_INIT(FILE_MAX + 1);
    json_t *o = NULL;

    if (path && read_text(w, path, &text) && json_parse(buf_str(&text), &o, NULL) == 0 && json_is_object(o))
        return o;
    json_decref(o);
    return json_object();
}

/* ---- commands and agents ---- */

static void set(json_t *o, const char *key, Str value, Str otherwise)
{
    json_object_set_new(o, key, json_strv(value.ptr ? value : otherwise));
}

static json_t *command_of(Str id, Str text)
{
    json_t *o = json_object();
    CLEANUP_FREE char *slash = xasprintf("/" STR_FMT, STR_ARG(id));
    int64_t order = 0;

    set(o, "id", id, id);
    set(o, "name", front_matter(text, "name"), id);
    set(o, "description", front_matter(text, "description"), STR(""));
    json_object_set_new(o, "slashCommand", json_string(slash));
    set(o, "icon", front_matter(text, "icon"), STR(""));
    (void)str_to_i64(front_matter(text, "order"), &order);
    json_object_set_new(o, "order", json_integer(order));
    return o;
}

static json_t *agent_of(Str id, Str text)
{
    json_t *o = json_object();

    set(o, "id", id, id);
    set(o, "name", front_matter(text, "name"), id);
    set(o, "description", front_matter(text, "description"), STR(""));
    set(o, "tools", front_matter(text, "tools"), STR(""));
    return o;
}

static json_t *read_folder(const Workspace *w, const char *root, const char *folder,
                           json_t *(*read)(Str id, Str text))
{
    CLEANUP_FREE char *dir = xasprintf("%s/.claude/%s", root, folder);
    CLEANUP_BUF Buf names = BUF_INIT(LIST_MAX), text = BUF_INIT(FILE_MAX + 1);
    CLEANUP_JSON json_t *listing = NULL;
    json_t *list = json_array();
    const json_t *item;
    size_t i;

    if (workspace_list(w, str_from(dir), &names, NULL) < 0 || json_parse(buf_str(&names), &listing, NULL) < 0)
        return list;
    json_array_foreach(json_get_arr(listing, "items"), i, item)
    {
        Str name = json_get_strv(item, "name");
        if (!str_ends(name, STR(".md")) || name.len == 3 || json_array_size(list) >= FILES_MAX)
            continue;
        CLEANUP_FREE char *path = xasprintf("%s/" STR_FMT, dir, STR_ARG(name));
        if (read_text(w, path, &text))
            json_array_append_new(list, read(str_slice(name, 0, name.len - 3), buf_str(&text)));
    }
    return list;
}

json_t *workflow_metadata(const Repos *repos, const Workspace *w)
{
    static const char *const shown[] = {"name", "description", "systemPrompt", "artifactsDir", "rubric"};
    CLEANUP_FREE char *root = root_of(repos);
    CLEANUP_JSON json_t *config = workflow_config(repos, w);
    json_t *o = json_object(), *out = json_object();

    for (size_t i = 0; i < ARRAY_LEN(shown); i++)
        if (json_object_get(config, shown[i]))
            json_object_set(out, shown[i], json_object_get(config, shown[i]));
    if (!json_object_get(out, "artifactsDir"))
        json_object_set_new(out, "artifactsDir", json_string("artifacts"));
    json_object_set_new(o, "commands", root ? read_folder(w, root, "commands", command_of) : json_array());
    json_object_set_new(o, "agents", root ? read_folder(w, root, "agents", agent_of) : json_array());
    json_object_set_new(o, "config", out);
    return o;
}
