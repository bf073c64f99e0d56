#include "plugin.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "config.h"

#define PREFIX "acpctl-"
#define WORDS_MAX 4

/* The names of our own programs begin like plugins. */
static bool is_ours(const char *name)
{
    return strcmp(name, "docs") == 0;
}

static char *find_on_path(const char *program)
{
    Str rest = str_from(getenv("PATH"));
    while (rest.ptr) {
        CLEANUP_FREE char *dir = str_dup(str_cut(&rest, ':'));
        if (dir[0] != '/')
            continue; /* never from where one happens to be */
        CLEANUP_FREE char *path = path_join(dir, program);
        if (access(path, X_OK) == 0)
            return TAKE(path);
    }
    return NULL;
}

typedef VEC_OF(char *)
Environment;

static void environment_done(Environment *e)
{
    VEC_FOREACH (e, v)
        free(*v);
    vec_free(e);
}

static void set_variable(Environment *e, const char *name, const char *value)
{
    CLEANUP_FREE char *text = xasprintf("%s=", name);
    size_t i = 0;
    while (i < e->len && strncmp(e->ptr[i], text, strlen(text)) != 0)
        i++;
    if (i == e->len)
        vec_push(e, NULL);
    free(e->ptr[i]);
    e->ptr[i] = xasprintf("%s%s", text, value);
}

/* Ours, and what the settings say; the token stays in the file, whose path says where. */
static void make_environment(Environment *e)
{
    static const struct {
        const char *key, *variable;
    } names[] = {{"api_url", "AMBIENT_API_URL"}, {"project", "AMBIENT_PROJECT"}};
    CLEANUP(config_freep) Config *cfg = NULL;
    for (char **v = environ; *v; v++)
        vec_push(e, xstrdup(*v));
    if (config_load(NULL, &cfg, NULL) == 0) {
        set_variable(e, "AMBIENT_CONFIG", config_path(cfg));
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            const char *v = config_get(cfg, names[i].key, NULL);
            if (v)
                set_variable(e, names[i].variable, v);
        }
    }
    vec_push(e, NULL);
}

static bool is_word(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && n <= 32 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_-") == n && s[0] != '-';
}

void plugin_run(int argc, char **argv)
{
    int words = 0;
    while (words < WORDS_MAX && words + 1 < argc && is_word(argv[words + 1]))
        words++;
    for (; words > 0; words--) {
        CLEANUP_BUF Buf name = BUF_INIT(256);
        buf_addz(&name, PREFIX);
        for (int i = 0; i < words; i++)
            buf_addf(&name, "%s%s", i ? "-" : "", argv[i + 1]);
        CLEANUP_FREE char *path = is_ours(name.data + strlen(PREFIX)) ? NULL : find_on_path(name.data);
        if (!path)
            continue;
        CLEANUP(environment_done) Environment env = {0};
        make_environment(&env);
        argv[words] = path;
        (void)execve(path, argv + words, env.ptr);
        return;
    }
}

static int is_plugin(const struct dirent *e)
{
    return strncmp(e->d_name, PREFIX, strlen(PREFIX)) == 0 && e->d_name[strlen(PREFIX)] &&
           !is_ours(e->d_name + strlen(PREFIX));
}

void plugin_each(void (*each)(void *arg, const char *name, const char *path), void *arg)
{
    CLEANUP(map_freep) Map *seen = map_new();
    Str rest = str_from(getenv("PATH"));
    while (rest.ptr) {
        CLEANUP_FREE char *dir = str_dup(str_cut(&rest, ':'));
        struct dirent **names = NULL;
        int n = dir[0] == '/' ? scandir(dir, &names, is_plugin, alphasort) : 0;
        for (int i = 0; i < n; i++) {
            const char *name = names[i]->d_name;
            CLEANUP_FREE char *path = path_join(dir, name);
            if (access(path, X_OK) == 0 && !map_has(seen, str_from(name))) {
                map_put(seen, str_from(name), seen);
                each(arg, name + strlen(PREFIX), path);
            }
            free(names[i]);
        }
        free(names);
    }
}
