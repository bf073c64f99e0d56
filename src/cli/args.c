#include "command.h"

#include <string.h>
#include "base/mem.h"
#include "base/vec.h"

typedef struct Given {
    const Opt *opt;
    const char *value; /* into argv; NULL for a switch that is on */
} Given;

struct Args {
    const Command *cmd;
    VEC_OF(const char *)
    words;
    VEC_OF(Given)
    given;
    VEC_OF(const char *)
    list; /* scratch of opt_list */
};

static const Opt *find_in(const Opt *table, Str name, char letter)
{
    for (const Opt *o = table; o && o->name; o++) {
        if (letter ? o->letter == letter : str_eqz(name, o->name))
            return o;
    }
    return NULL;
}

static const Opt *find_opt(const Command *c, Str name, char letter)
{
    const Opt *o = c ? find_in(c->opts, name, letter) : NULL;
    if (!o)
        o = find_in(root_opts, name, letter);
    return o && o->alias_of ? find_opt(c, str_from(o->alias_of), 0) : o;
}

/* ---- checking values when they are read, so that a typo is told before anything is done ---- */

static int check_value(const Opt *o, const char *v, Err *err)
{
    int64_t i;
    double d;
    Usec t;
    Str s = str_from(v);
    switch (o->type) {
    case OPT_INT:
        if (str_to_i64(s, &i) < 0)
            return err_set(err, ERR_USAGE, "invalid argument \"%s\" for \"--%s\" flag: not a whole number", v,
                           o->name);
        return 0;
    case OPT_FLOAT:
        if (str_to_double(s, &d) < 0)
            return err_set(err, ERR_USAGE, "invalid argument \"%s\" for \"--%s\" flag: not a number", v,
                           o->name);
        return 0;
    case OPT_DURATION:
        if (duration_parse(s, &t) < 0)
            return err_set(err, ERR_USAGE,
                           "invalid argument \"%s\" for \"--%s\" flag: not a duration (45s, 1h30m)", v,
                           o->name);
        return 0;
    case OPT_BOOL:
        if (!str_eqz(s, "true") && !str_eqz(s, "false") && !str_eqz(s, "1") && !str_eqz(s, "0"))
            return err_set(err, ERR_USAGE, "invalid argument \"%s\" for \"--%s\" flag: not true or false", v,
                           o->name);
        return 0;
    case OPT_STR:
    case OPT_LIST:
        return 0;
    }
    return 0;
}

static int add_given(Args *a, const Opt *o, const char *value, Err *err)
{
    int rc = value ? check_value(o, value, err) : 0;
    if (rc == 0)
        vec_push(&a->given, ((Given){o, value}));
    return rc;
}

/* --name, --name=value, --name value; *i is moved when the next word is the value. */
static int parse_long(Args *a, int argc, char **argv, int *i, Err *err)
{
    Str rest = str_from(argv[*i] + 2), name = str_cut(&rest, '=');
    const Opt *o = find_opt(a->cmd, name, 0);
    if (!o)
        return err_set(err, ERR_USAGE, "unknown flag: --" STR_FMT, STR_ARG(name));
    if (rest.ptr)
        return add_given(a, o, rest.ptr, err);
    if (o->type == OPT_BOOL || o->bare)
        return add_given(a, o, o->bare, err);
    if (*i + 1 >= argc)
        return err_set(err, ERR_USAGE, "flag needs an argument: --" STR_FMT, STR_ARG(name));
    return add_given(a, o, argv[++*i], err);
}

static int parse_short(Args *a, int argc, char **argv, int *i, Err *err)
{
    const char *word = argv[*i];
    for (const char *p = word + 1; *p; p++) {
        const Opt *o = find_opt(a->cmd, STR_NULL, *p);
        if (!o)
            return err_set(err, ERR_USAGE, "unknown shorthand flag: '%c' in %s", *p, word);
        if (o->type == OPT_BOOL && p[1] != '=') {
            vec_push(&a->given, ((Given){o, NULL}));
            continue;
        }
        if (p[1])
            return add_given(a, o, p[1] == '=' ? p + 2 : p + 1, err);
        if (*i + 1 >= argc)
            return err_set(err, ERR_USAGE, "flag needs an argument: '%c' in %s", *p, word);
        return add_given(a, o, argv[++*i], err);
    }
    return 0;
}

/* ---- finding the command ---- */

static bool words_match(const Command *c, Str path, Str last)
{
    Str words = str_from(c->words), head = STR_NULL, tail = words;
    for (size_t i = words.len; i > 0; i--) {
        if (words.ptr[i - 1] == ' ') {
            head = str_slice(words, 0, i - 1);
            tail = str_slice(words, i, words.len);
            break;
        }
    }
    if (!str_eq(head, path))
        return false;
    if (str_eq(tail, last))
        return true;
    Str aliases = str_from(c->aliases);
    while (aliases.ptr) {
        Str alias = str_cut(&aliases, ' ');
        if (alias.len && str_eq(alias, last))
            return true;
    }
    return false;
}

static const Command *find_child(const Command *parent, Str word)
{
    COMMAND_FOREACH(c)
    {
        if (words_match(c, parent ? str_from(parent->words) : STR_NULL, word))
            return c;
    }
    return NULL;
}

static bool has_children(const Command *parent)
{
    Str p = str_from(parent->words);
    COMMAND_FOREACH(c)
    {
        Str w = str_from(c->words);
        if (w.len > p.len && str_starts(w, p) && w.ptr[p.len] == ' ')
            return true;
    }
    return false;
}

const Command *command_find(const char *words)
{
    COMMAND_FOREACH(c)
    {
        if (strcmp(c->words, words) == 0)
            return c;
    }
    return NULL;
}

const Command *command_child(const Command *parent, const char *word)
{
    return find_child(parent, str_from(word));
}

const Opt *command_opt(const Command *c, const char *word)
{
    if (word[0] != '-' || !word[1])
        return NULL;
    Str name = str_from(word + 2);
    return word[1] == '-' ? find_opt(c, str_cut(&name, '='), 0) : find_opt(c, STR_NULL, word[1]);
}

bool command_is_known(const char *word)
{
    return word[0] == '-' || strcmp(word, "help") == 0 || find_child(NULL, str_from(word));
}

size_t word_distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b), row[33];
    if (la > 32 || lb > 32)
        return 99;
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diag = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = diag + (a[i - 1] != b[j - 1]);
            diag = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[lb];
}

static int unknown_command(const Command *parent, const char *word, Err *err)
{
    CLEANUP_BUF Buf b = BUF_INIT(400);
    Str p = parent ? str_from(parent->words) : STR_NULL;
    buf_addf(&b, "unknown command \"%.60s\" for \"acpctl%s" STR_FMT "\"", word, p.len ? " " : "", STR_ARG(p));
    bool any = false;
    COMMAND_FOREACH(c)
    {
        Str w = str_from(c->words);
        if (p.len && (!str_starts(w, p) || w.len <= p.len + 1))
            continue;
        const char *last = c->words + (p.len ? p.len + 1 : 0);
        if (!c->help || strchr(last, ' ') || (word_distance(word, last) > 2 && strncmp(word, last, 3) != 0))
            continue;
        buf_addz(&b, any ? "" : "\n\nDid you mean this?");
        buf_addf(&b, "\n\t%s", last);
        any = true;
    }
    return err_set(err, ERR_USAGE, "%s", b.data);
}

static int check_arity(const Command *c, size_t n, const char *first, Err *err)
{
    if (n >= c->min && n <= c->max)
        return 0;
    if (c->max == 0)
        return err_set(err, ERR_USAGE, "unknown command \"%s\" for \"acpctl %s\"", first, c->words);
    if (c->max == COMMAND_MANY)
        return err_set(err, ERR_USAGE, "requires at least %u arg(s), only received %zu", c->min, n);
    if (c->min == c->max)
        return err_set(err, ERR_USAGE, "accepts %u arg(s), received %zu", c->min, n);
    if (c->min == 0)
        return err_set(err, ERR_USAGE, "accepts at most %u arg(s), received %zu", c->max, n);
    return err_set(err, ERR_USAGE, "accepts between %u and %u arg(s), received %zu", c->min, c->max, n);
}

/* A word that is no option: the next word of the command's path, or an argument. */
static int take_word(Args *a, const char *word, Err *err)
{
    const Command *next = a->words.len ? NULL : find_child(a->cmd, str_from(word));
    if (next && (!a->cmd || has_children(a->cmd))) {
        a->cmd = next;
        return 0;
    }
    if (!a->cmd || (!a->cmd->run && has_children(a->cmd)))
        return unknown_command(a->cmd, word, err);
    vec_push(&a->words, word);
    return 0;
}

/* Options may stand before the command's words: those are looked up at the root, where all take no value but
 * one. */
static int parse_words(Args *a, int argc, char **argv, bool *ret_help, Err *err)
{
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        const char *w = argv[i];
        int rc;
        if (only_words || w[0] != '-' || !w[1]) {
            rc = take_word(a, w, err);
        } else if (strcmp(w, "--") == 0) {
            only_words = true;
            rc = 0;
        } else if (strcmp(w, "--help") == 0 || strcmp(w, "-h") == 0) {
            *ret_help = true;
            rc = 0;
        } else {
            rc = w[1] == '-' ? parse_long(a, argc, argv, &i, err) : parse_short(a, argc, argv, &i, err);
        }
        if (rc < 0)
            return *ret_help ? 0 : rc;
    }
    return 0;
}

int args_parse(int argc, char **argv, const Command **ret_cmd, Args **ret, Err *err)
{
    CLEANUP(args_freep) Args *a = xnew(Args);
    bool help = false;
    if (argc > 1 && strcmp(argv[1], "help") == 0) {
        help = true;
        argc--;
        argv++;
    }
    int rc = parse_words(a, argc, argv, &help, err);
    if (rc < 0)
        return rc;
    bool group = a->cmd && !a->cmd->run;
    if (help || group || (!a->cmd && !opt_bool(a, "version"))) {
        command_help(a->cmd, stdout);
        *ret_cmd = NULL;
        *ret = NULL;
        return 0;
    }
    if (a->cmd && (rc = check_arity(a->cmd, a->words.len, arg_at(a, 0), err)) < 0)
        return rc;
    *ret_cmd = a->cmd;
    *ret = TAKE(a);
    return 0;
}

Args *args_free(Args *a)
{
    if (!a)
        return NULL;
    vec_free(&a->words);
    vec_free(&a->given);
    vec_free(&a->list);
    free(a);
    return NULL;
}

size_t args_len(const Args *a)
{
    return a->words.len;
}

const char *arg_at(const Args *a, size_t i)
{
    return i < a->words.len ? a->words.ptr[i] : NULL;
}

static const Given *last_given(const Args *a, const Opt *o)
{
    for (size_t i = a->given.len; i > 0; i--) {
        if (a->given.ptr[i - 1].opt == o)
            return &a->given.ptr[i - 1];
    }
    return NULL;
}

bool opt_given(const Args *a, const char *name)
{
    const Opt *o = find_opt(a->cmd, str_from(name), 0);
    return o && last_given(a, o);
}

const char *opt_str(const Args *a, const char *name)
{
    const Opt *o = find_opt(a->cmd, str_from(name), 0);
    const Given *g = o ? last_given(a, o) : NULL;
    return g ? g->value : o ? o->dflt : NULL;
}

bool opt_bool(const Args *a, const char *name)
{
    const Opt *o = find_opt(a->cmd, str_from(name), 0);
    const Given *g = o ? last_given(a, o) : NULL;
    if (g && !g->value)
        return true;
    const char *v = g ? g->value : o ? o->dflt : NULL;
    return v && (strcmp(v, "true") == 0 || strcmp(v, "1") == 0);
}

int64_t opt_int(const Args *a, const char *name)
{
    int64_t v = 0;
    const char *s = opt_str(a, name);
    return s && str_to_i64(str_from(s), &v) == 0 ? v : 0;
}

double opt_float(const Args *a, const char *name)
{
    double v = 0;
    const char *s = opt_str(a, name);
    return s && str_to_double(str_from(s), &v) == 0 ? v : 0;
}

Usec opt_duration(const Args *a, const char *name)
{
    Usec v = 0;
    const char *s = opt_str(a, name);
    return s && duration_parse(str_from(s), &v) == 0 ? v : 0;
}

size_t opt_list(const Args *a, const char *name, const char *const **ret)
{
    const Opt *o = find_opt(a->cmd, str_from(name), 0);
    Args *scratch = (Args *)(uintptr_t)a;
    vec_clear(&scratch->list);
    for (size_t i = 0; i < a->given.len; i++) {
        if (a->given.ptr[i].opt == o && a->given.ptr[i].value)
            vec_push(&scratch->list, a->given.ptr[i].value);
    }
    *ret = a->list.ptr;
    return a->list.len;
}
