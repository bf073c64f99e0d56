#include "command.h"

#include <string.h>

static const char *last_word(const Command *c)
{
    const char *space = strrchr(c->words, ' ');
    return space ? space + 1 : c->words;
}

static bool is_child(const Command *c, const Command *parent)
{
    Str w = str_from(c->words), p = parent ? str_from(parent->words) : STR_NULL;
    if (p.len && (!str_starts(w, p) || w.len <= p.len || w.ptr[p.len] != ' '))
        return false;
    return str_find_byte(str_slice(w, p.len ? p.len + 1 : 0, w.len), ' ') < 0;
}

static void opts_help(const Opt *table, FILE *out)
{
    for (const Opt *o = table; o && o->name; o++) {
        if (!o->help)
            continue;
        char left[64];
        snprintf(left, sizeof(left), "%s%c%s--%s%s", o->letter ? "-" : " ", o->letter ? o->letter : ' ',
                 o->letter ? ", " : "  ", o->name,
                 o->type == OPT_BOOL ? ""
                 : o->bare           ? "[=VALUE]"
                                     : " VALUE");
        fprintf(out, "  %-34s %s", left, o->help);
        if (o->dflt && o->type != OPT_BOOL)
            fprintf(out, " (default %s)", o->dflt);
        fputc('\n', out);
    }
}

/* Lines of `text`, indented; those that are no comment with `before` in front. */
static void lines_help(const char *title, const char *text, const char *before, FILE *out)
{
    fprintf(out, "\n%s:\n", title);
    Str rest = str_from(text);
    while (rest.ptr) {
        Str line = str_cut(&rest, '\n');
        fprintf(out, "  %s" STR_FMT "\n", str_starts(line, STR("#")) ? "" : before, STR_ARG(line));
    }
}

static void exits_help(const Command *c, FILE *out)
{
    if (c && c->exits)
        lines_help("Exit status", c->exits, "", out);
    if (c)
        return;
    fputs("\nExit status:\n", out);
    for (const ExitStatus *e = exit_statuses; e->text; e++)
        fprintf(out, "  %-5d %s\n", e->status, e->text);
}

void command_help(const Command *c, FILE *out)
{
    if (!c)
        fputs("acpctl runs and follows agent sessions on an Ambient platform.\n\n", out);
    else if (c->help)
        fprintf(out, "%s\n\n", c->help);
    if (c && c->text)
        fprintf(out, "%s\n\n", c->text);
    fprintf(out, "Usage: acpctl %s%s%s%s[flags]\n", c ? c->words : "COMMAND", c ? " " : " ",
            c && c->usage ? c->usage : "", c && c->usage && *c->usage ? " " : "");
    bool any = false;
    COMMAND_FOREACH(k)
    {
        if (!k->help || !is_child(k, c))
            continue;
        fputs(any ? "" : "\nCommands:\n", out);
        fprintf(out, "  %-18s %s\n", last_word(k), k->help);
        any = true;
    }
    if (c && c->opts) {
        fputs("\nFlags:\n", out);
        opts_help(c->opts, out);
    }
    fputs("\nGlobal flags:\n", out);
    opts_help(root_opts, out);
    if (c && c->examples)
        lines_help("Examples", c->examples, "acpctl ", out);
    exits_help(c, out);
}
