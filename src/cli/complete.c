/* Completion from the command table: which word stands next, and what may be in its place. */
#include <string.h>
#include "base/mem.h"
#include "base/vec.h"
#include "command.h"

/* What the words before the one that is completed say. */
typedef struct Line {
    const Command *cmd;
    VEC_OF(const char *)
    args;
    const Opt *waiting; /* an option whose value comes next */
    bool words_only;    /* behind -- */
    const char *project, *context;
} Line;

static bool takes_value(const Opt *o)
{
    return o->type != OPT_BOOL && !o->bare;
}

static void note_value(Line *l, const Opt *o, const char *value)
{
    if (strcmp(o->name, "project-id") == 0 || strcmp(o->name, "project") == 0)
        l->project = value;
    if (strcmp(o->name, "context") == 0)
        l->context = value;
}

static void read_option(Line *l, const char *word)
{
    const Opt *o = command_opt(l->cmd, word);
    const char *eq = strchr(word, '=');
    if (!o)
        return;
    if (eq)
        note_value(l, o, eq + 1);
    else if (takes_value(o) && (word[1] == '-' || !word[2])) /* -ojson has its value */
        l->waiting = o;
}

static void read_word(Line *l, const char *word)
{
    const Command *next = l->args.len ? NULL : command_child(l->cmd, word);
    if (next)
        l->cmd = next;
    else
        vec_push(&l->args, word);
}

static void read_line(Line *l, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char *w = argv[i];
        if (l->waiting) {
            note_value(l, l->waiting, w);
            l->waiting = NULL;
        } else if (!l->words_only && strcmp(w, "--") == 0) {
            l->words_only = true;
        } else if (!l->words_only && w[0] == '-' && w[1]) {
            read_option(l, w);
        } else {
            read_word(l, w);
        }
    }
}

static const char *last_word(const Command *c)
{
    const char *space = strrchr(c->words, ' ');
    return space ? space + 1 : c->words;
}

static void complete_commands(const Command *parent, const char *prefix, FILE *out)
{
    Str path = parent ? str_from(parent->words) : STR_NULL;
    COMMAND_FOREACH(k)
    {
        Str w = str_from(k->words), last = str_from(last_word(k));
        bool child = path.len
                         ? w.len == path.len + 1 + last.len && str_starts(w, path) && w.ptr[path.len] == ' '
                         : last.len == w.len;
        if (k->help && child && str_starts(last, str_from(prefix)))
            fprintf(out, "%s\n", last.ptr);
    }
}

static void complete_opts(const Opt *table, const char *prefix, FILE *out)
{
    for (const Opt *o = table; o && o->name; o++) {
        char word[64];
        snprintf(word, sizeof(word), "--%s", o->name);
        if (o->help && strncmp(word, prefix, strlen(prefix)) == 0)
            fprintf(out, "%s\n", word);
    }
}

/* A type in capitals is looked up by the caller; other words are offered as they are, `lead` in front. */
static void complete_values(const Line *l, const char *types, const char *lead, const char *prefix, FILE *out,
                            void (*values)(const Completion *c))
{
    Str rest = str_from(types);
    while (rest.ptr) {
        CLEANUP_FREE char *type = str_dup(str_cut(&rest, ' '));
        bool capital = type[0] >= 'A' && type[0] <= 'Z';
        Completion c = {type, prefix, l->args.ptr, l->args.len, l->project, l->context, out};
        if (capital && values && !*lead)
            values(&c);
        else if (!capital && strncmp(type, prefix, strlen(prefix)) == 0)
            fprintf(out, "%s%s\n", lead, type);
    }
}

/* The word of the usage that stands for argument number n: "[NAME...]" is NAME, for all that come. */
static char *usage_type(const Command *c, size_t n)
{
    Str rest = str_from(c->usage), word = STR_NULL;
    for (size_t i = 0; rest.ptr && i <= n; i++) {
        word = str_cut(&rest, ' ');
        if (str_find(word, STR("...")) >= 0)
            break;
        if (!rest.ptr && i < n)
            return NULL; /* there are not so many */
    }
    while (word.len && word.ptr[0] == '[')
        word = str_slice(word, 1, word.len);
    size_t len = strspn(word.len ? word.ptr : "", "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");
    return len && len <= word.len ? str_dup(str_slice(word, 0, len)) : NULL;
}

void command_complete(int argc, char **argv, FILE *out, void (*values)(const Completion *c))
{
    const char *prefix = argc > 0 ? argv[argc - 1] : "", *eq = strchr(prefix, '=');
    Line l = {0};
    read_line(&l, argc - 1, argv);
    const Opt *with_value = !l.words_only && eq ? command_opt(l.cmd, prefix) : NULL;
    if (l.waiting) {
        complete_values(&l, l.waiting->values, "", prefix, out, values);
    } else if (with_value) {
        CLEANUP_FREE char *lead = xmemdup0(prefix, (size_t)(eq - prefix) + 1);
        complete_values(&l, with_value->values, lead, eq + 1, out, values);
    } else if (prefix[0] == '-' && !l.words_only) {
        complete_opts(l.cmd ? l.cmd->opts : NULL, prefix, out);
        complete_opts(root_opts, prefix, out);
    } else {
        if (!l.args.len)
            complete_commands(l.cmd, prefix, out);
        CLEANUP_FREE char *type = l.cmd && l.cmd->run ? usage_type(l.cmd, l.args.len) : NULL;
        if (type)
            complete_values(&l, type, "", prefix, out, values);
    }
    vec_free(&l.args);
}
