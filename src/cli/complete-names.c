#include "complete.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "base/file.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "output.h"
#include "resource.h"

#define BUDGET "1s"
#define REMEMBERED_SECONDS 10
#define NAMES_MAX 500
#define CACHE_MAX ((size_t)1 << 20)

static void offer(const Completion *c, Str word)
{
    if (str_starts(word, str_from(c->prefix)))
        fprintf(c->out, STR_FMT "\n", STR_ARG(word));
}

static void offer_lines(const Completion *c, Str text)
{
    while (text.ptr) {
        Str line = str_cut(&text, '\n');
        if (line.len)
            offer(c, line);
    }
}

static void offer_words(const Completion *c, const char *const *words)
{
    for (; *words; words++)
        offer(c, str_from(*words));
}

/* ---- what is known here ---- */

static void offer_kinds(const Completion *c)
{
    const Resource *r;
    for (size_t i = 0; (r = resource_at(i)); i++)
        offer(c, str_from(r->plural));
}

static void offer_contexts(const Completion *c)
{
    CLEANUP(config_freep) Config *cfg = NULL;
    const char *name;
    json_t *v;
    if (config_load(NULL, &cfg, NULL) < 0)
        return;
    json_object_foreach(config_contexts(cfg), name, v) offer(c, str_from(name));
}

/* ---- what the server knows ---- */

/* A file per configuration, context, project and kind. */
static char *cache_path(const Completion *c, App *app, const Resource *r)
{
    CLEANUP_BUF Buf key = BUF_INIT(64 * 1024);
    CLEANUP_BUF Buf name = BUF_INIT(256);
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    uint8_t digest[SHA256_LEN];
    if ((!cache || cache[0] != '/') && (!home || home[0] != '/'))
        return NULL;
    const char *project = app_project_or_null(app);
    buf_addf(&key, "%s\n%s\n%s\n%s", config_path(app->cfg),
             c->context ? c->context : config_context(app->cfg), project ? project : "", r->noun);
    sha256(buf_str(&key), digest);
    hex_write(&name, digest, 16);
    CLEANUP_FREE char *dir =
        cache && cache[0] == '/' ? xasprintf("%s/acpctl", cache) : xasprintf("%s/.cache/acpctl", home);
    return dir_make(dir, 0700, NULL) == 0 ? path_join(dir, name.data) : NULL;
}

static bool read_cache(const char *path, Buf *out)
{
    struct stat st;
    if (!path || stat(path, &st) < 0)
        return false;
    int64_t age = clock_wall(&clock_system).us / 1000000 - (int64_t)st.st_mtime;
    return age >= 0 && age < REMEMBERED_SECONDS && file_read(path, out, NULL) == 0;
}

static int ask_server(App *app, const Resource *r, Buf *out)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *answer = NULL;
    int rc = resource_path(app, r, &path, NULL);
    if (rc == 0)
        rc = app_get(app, &answer, NULL, "%s?page=1&size=%d", path, NAMES_MAX);
    json_t *items = json_get_arr(answer, "items");
    for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
        const json_t *one = json_array_get(items, i);
        Str name = json_get_strv(one, "name");
        /* Control characters would act on the shell's screen. */
        clean_text(out, name.len ? name : json_get_strv(one, "id"), false);
        buf_addc(out, '\n');
    }
    return rc;
}

/* The words that App reads its options from: those of `get KIND`, with a limit of time. Args point into them.
 */
typedef struct OwnLine {
    char words[6][256];
    char *argv[6];
    int n;
} OwnLine;

static void add_word(OwnLine *l, const char *option, const char *value)
{
    snprintf(l->words[l->n], sizeof(l->words[0]), "%s%s", option, value);
    l->argv[l->n] = l->words[l->n];
    l->n++;
}

static int parse_own(const Completion *c, OwnLine *l, Args **ret)
{
    const Command *cmd = NULL;
    add_word(l, "acpctl", "");
    add_word(l, "get", "");
    add_word(l, "names", "");
    add_word(l, "--request-timeout=", BUDGET);
    if (c->project)
        add_word(l, "--project-id=", c->project);
    if (c->context)
        add_word(l, "--context=", c->context);
    return args_parse(l->n, l->argv, &cmd, ret, NULL);
}

static void offer_names(const Completion *c, const Resource *r)
{
    CLEANUP(args_freep) Args *args = NULL;
    CLEANUP_BUF Buf names = BUF_INIT(CACHE_MAX);
    App app = {0};
    OwnLine line = {0};
    if (!r || parse_own(c, &line, &args) < 0)
        return;
    if (app_init(&app, args, NULL) == 0) {
        CLEANUP_FREE char *cache = cache_path(c, &app, r);
        if (!read_cache(cache, &names)) {
            buf_clear(&names);
            if (ask_server(&app, r, &names) == 0 && cache)
                (void)file_write_atomic(cache, buf_str(&names), 0600, NULL);
        }
        offer_lines(c, buf_str(&names));
    }
    app_done(&app);
}

/* Types that are called like a kind are names of that kind. */
static const Resource *resource_of_type(const Completion *c)
{
    if (strcmp(c->type, "NAME") == 0)
        return c->n_words ? resource_find(c->words[0]) : NULL;
    if (strcmp(c->type, "SCHEDULE") == 0)
        return resource_find("scheduled-session");
    return resource_find(c->type);
}

void complete_names(const Completion *c)
{
    static const char *const shells[] = {"bash", "zsh", "fish", NULL};
    if (strcmp(c->type, "RESOURCE") == 0)
        offer_kinds(c);
    else if (strcmp(c->type, "CONTEXT") == 0)
        offer_contexts(c);
    else if (strcmp(c->type, "KEY") == 0)
        offer_words(c, config_keys);
    else if (strcmp(c->type, "SHELL") == 0)
        offer_words(c, shells);
    else
        offer_names(c, resource_of_type(c));
}
