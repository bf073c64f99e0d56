#include "flag-internal.h"

#include <stdlib.h>
#include "base/mem.h"
#include "base/vec.h"

#define FOREACH_FLAG(table, f) for (const Flag *f = (table); f->name || f->env; f++)
#define NAME_MAX_LEN 64

static bool is_bool(const Flag *f)
{
    return f->type == FLAG_BOOL || f->type == FLAG_IGNORED_BOOL;
}

static const Flag *lookup(const Flag *table, Str name)
{
    FOREACH_FLAG (table, f)
        if (f->name && str_eqz(name, f->name))
            return f;
    return NULL;
}

/* Levenshtein distance, for words up to NAME_MAX_LEN. */
static size_t distance(Str a, Str b)
{
    size_t row[NAME_MAX_LEN + 1];
    if (a.len > NAME_MAX_LEN || b.len > NAME_MAX_LEN)
        return SIZE_MAX;
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t best = diagonal + (a.ptr[i - 1] != b.ptr[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b.len];
}

static int unknown_flag(const Flag *table, Str name, Err *err)
{
    const char *nearest = NULL;
    size_t best = name.len < 5 ? 2 : 3; /* two letters off, one in a short name */
    FOREACH_FLAG (table, f) {
        size_t d = f->name && f->help ? distance(name, str_from(f->name)) : SIZE_MAX;
        if (d < best) {
            best = d;
            nearest = f->name;
        }
    }
    if (nearest)
        return err_set(err, ERR_USAGE, "unknown flag --" STR_FMT " (did you mean --%s?)", STR_ARG(name),
                       nearest);
    return err_set(err, ERR_USAGE, "unknown flag --" STR_FMT, STR_ARG(name));
}

static int bad_value(const char *kind, const char *name, const Flag *f, const char *value, const char *rule,
                     Err *err)
{
    if (f->type == FLAG_SECRET)
        return err_set(err, ERR_USAGE, "%s%s: %s", kind, name, rule);
    return err_set(err, ERR_USAGE, "%s%s: \"%.80s\": %s", kind, name, value, rule);
}

static int set_default(const Flag *f, void *target, Err *err)
{
    const char *rule = NULL;
    if (!f->dflt || flag_set(f, target, f->dflt, FLAG_FROM_DEFAULT, &rule) == 0)
        return 0;
    return bad_value("default of ", f->name ? f->name : f->env, f, f->dflt, rule, err);
}

static int set_from_env(const Flag *f, void *target, Err *err)
{
    if (!f->env)
        return 0;
    CLEANUP_FREE char *file_name = f->type == FLAG_SECRET ? xasprintf("%s_FILE", f->env) : NULL;
    const char *name = f->env, *value = getenv(name), *rule = NULL;
    FlagSource source = FLAG_FROM_ENV;
    if (file_name && (!value || !*value)) {
        name = file_name;
        value = getenv(name);
        source = FLAG_FROM_FILE_ENV;
    }
    if (!value || !*value || flag_set(f, target, value, source, &rule) == 0)
        return 0;
    return bad_value("environment variable ", name, f, value, rule, err);
}

/* Reads the flag at argv[*at]; moves *at onto its value when that is the next word. */
static int set_from_argv(const Flag *table, void *target, int argc, char **argv, int *at, Err *err)
{
    Str rest = str_from(argv[*at]);
    rest = str_slice(rest, str_starts(rest, STR("--")) ? 2 : 1, rest.len);
    Str name = str_cut(&rest, '=');
    const char *value = rest.ptr, *rule = NULL; /* ends with the word, so it is NUL-terminated */
    const Flag *f = lookup(table, name);
    if (!f)
        return unknown_flag(table, name, err);
    if (!value && is_bool(f))
        value = "true";
    if (!value && ++*at < argc)
        value = argv[*at];
    if (!value)
        return err_set(err, ERR_USAGE, "flag --%s: needs a value", f->name);
    if (flag_set(f, target, value, FLAG_FROM_ARGV, &rule) < 0)
        return bad_value("flag --", f->name, f, value, rule, err);
    return 0;
}

static bool is_help(const Flag *table, const char *word)
{
    Str s = str_from(word);
    if (str_eqz(s, "-h"))
        return !lookup(table, STR("h"));
    return (str_eqz(s, "--help") || str_eqz(s, "-help")) && !lookup(table, STR("help"));
}

static int read_argv(const Flag *table, void *target, int argc, char **argv, char **words, size_t *n_words,
                     Err *err)
{
    bool flags_ended = false;
    for (int i = 1; i < argc; i++) {
        bool is_word = flags_ended || argv[i][0] != '-' || !argv[i][1];
        if (is_word) {
            words[(*n_words)++] = argv[i];
        } else if (str_eqz(STR("--"), argv[i])) {
            flags_ended = true;
        } else if (is_help(table, argv[i])) {
            flags_help(table, stdout);
            return err_set(err, ERR_CANCELLED, "help was asked for");
        } else {
            int r = set_from_argv(table, target, argc, argv, &i, err);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static int read_all(const Flag *table, void *target, int argc, char **argv, char **words, size_t *n_words,
                    Err *err)
{
    FOREACH_FLAG (table, f) {
        int r = set_default(f, target, err);
        if (r == 0)
            r = set_from_env(f, target, err);
        if (r < 0)
            return r;
    }
    return read_argv(table, target, argc, argv, words, n_words, err);
}

int flags_parse(const Flag *table, void *target, int argc, char **argv, char ***ret_args, Err *err)
{
    CLEANUP_FREE char **words = xcalloc((size_t)(argc > 0 ? argc : 0) + 1, sizeof(char *));
    size_t n_words = 0;
    FOREACH_FLAG (table, f)
        flag_zero(f, target);
    int r = read_all(table, target, argc, argv, words, &n_words, err);
    if (r == 0 && n_words && !ret_args)
        r = err_set(err, ERR_USAGE, "unexpected argument \"%.80s\"", words[0]);
    if (r < 0) {
        flags_free(table, target);
        return r;
    }
    if (ret_args)
        *ret_args = TAKE(words);
    return 0;
}

void flags_free(const Flag *table, void *target)
{
    FOREACH_FLAG (table, f)
        flag_clear(f, target);
}

static const char *value_word(const Flag *f)
{
    static const char *const words[] = {
        [FLAG_STRING] = "TEXT", [FLAG_INT] = "N",       [FLAG_DURATION] = "DURATION",
        [FLAG_SIZE] = "SIZE",   [FLAG_SECRET] = "FILE", [FLAG_IGNORED] = "TEXT",
    };
    if (is_bool(f))
        return NULL;
    return f->value_name ? f->value_name : words[f->type];
}

static void help_line(const Flag *f, FILE *out)
{
    const char *word = value_word(f);
    if (f->name)
        fprintf(out, "  --%s%s%s\n", f->name, word ? " " : "", word ? word : "");
    else
        fprintf(out, "  (environment only)\n");
    fprintf(out, "        %s", f->help);
    if (f->dflt && *f->dflt)
        fprintf(out, " (default %s)", f->dflt);
    if (f->env)
        fprintf(out, " [$%s%s]", f->env, f->type == FLAG_SECRET ? " or $..._FILE" : "");
    fputc('\n', out);
}

void flags_help(const Flag *table, FILE *out)
{
    FOREACH_FLAG (table, f)
        if (f->help)
            help_line(f, out);
}
