/*
 * acpctl-docs: manual pages and the reference in Markdown, made from the command table while building; not
 * installed. "acpctl-docs man DIR" writes acpctl.1 and one page for each first word into DIR, "acpctl-docs
 * markdown" prints docs/cli.md.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "command.h"

typedef struct Doc {
    Buf out;
    bool man;   /* else Markdown */
    bool fresh; /* right behind a heading, where a manual page has no paragraph mark */
} Doc;

static const struct {
    const char *name, *text;
} environment[] = {
    {"AMBIENT_CONFIG", "configuration file"},
    {"AMBIENT_CONTEXT", "context of the configuration to use; --context wins over it"},
    {"AMBIENT_API_URL", "address of the API server; --api-url wins over it"},
    {"AMBIENT_GRPC_URL", "host:port of the gRPC API; by default it is derived from the API's address"},
    {"AMBIENT_OPENSHIFT_PATTERN",
     "hosts whose gRPC address is another route; replaces the list that is known"},
    {"AMBIENT_TOKEN", "token; it is used as it is and never renewed"},
    {"AMBIENT_CLIENT_SECRET", "secret of the OpenID client, for logins that need one and their renewal"},
    {"AMBIENT_PROJECT", "current project"},
    {"AMBIENT_CA_FILE", "CA certificates of the server"},
    {"AMBIENT_REQUEST_TIMEOUT", "seconds for each request"},
    {"AMBIENT_POLLING_INTERVAL", "seconds between looks where nothing can be watched"},
    {"NO_COLOR", "no colours, whatever it is set to"},
    {"EDITOR, VISUAL", "program that edit starts; without them vi"},
    {"TMPDIR", "where edit keeps its file meanwhile; by default /tmp"},
    {"TERM", "no colours when it is dumb"},
    {"CLICOLOR", "0 for no colours"},
    {"CLICOLOR_FORCE", "colours also where there is no terminal, as --color=always"},
    {"LESS", "options of less; when it is the pager and this is not set: FRX"},
    {"BROWSER", "program that login opens its address with"},
    {"DISPLAY", "without it and WAYLAND_DISPLAY no browser is started"},
    {"WAYLAND_DISPLAY", "see DISPLAY"},
    {"HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "proxies, as in curl"},
    {"XDG_CONFIG_HOME", "its ambient/config.json is the configuration; by default ~/.config"},
    {"XDG_CACHE_HOME",
     "its ambient keeps, for a moment, the names that completion offers; by default ~/.cache"},
    {"HOME", "see XDG_CONFIG_HOME"},
};

/* ---- words of both formats ---- */

/* In a manual page `\`, `-` and a line's first `.` or `'` mean something. */
static void roff(Buf *b, Str text)
{
    bool start = true;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (start && (c == '.' || c == '\''))
            buf_addz(b, "\\&");
        if (c == '\\')
            buf_addz(b, "\\e");
        else if (c == '-')
            buf_addz(b, "\\-");
        else
            buf_addc(b, c);
        start = c == '\n';
    }
}

/* Running text: lines are broken where there is a blank, so that the page's source can be read. */
#define ROFF_LINE 76
static void roff_line(Buf *b, Str line, size_t *column)
{
    while (line.ptr) {
        Str word = str_cut(&line, ' ');
        bool breaks = *column + word.len > ROFF_LINE;
        if (*column)
            buf_addc(b, breaks ? '\n' : ' ');
        *column = (breaks ? 0 : *column) + word.len + 1;
        roff(b, word);
    }
}

static void roff_text(Buf *b, Str text)
{
    size_t column = 0;
    while (text.ptr) {
        Str line = str_cut(&text, '\n');
        if (line.len) {
            roff_line(b, line, &column);
        } else {
            buf_addz(b, "\n.PP\n");
            column = 0;
        }
    }
}

/* Markdown would take these for its own. */
static void markdown(Buf *b, Str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("*_<>[]`", text.ptr[i]))
            buf_addc(b, '\\');
        buf_addc(b, text.ptr[i]);
    }
}

static void words(Doc *d, Str text)
{
    d->fresh = false;
    if (d->man)
        roff_text(&d->out, text);
    else
        markdown(&d->out, text);
}

static void new_paragraph(Doc *d)
{
    buf_addz(&d->out, d->man && !d->fresh ? ".PP\n" : "");
    d->fresh = false;
}

static void paragraph(Doc *d, const char *text)
{
    new_paragraph(d);
    words(d, str_from(text));
    buf_addz(&d->out, d->man ? "\n" : "\n\n");
}

static void heading(Doc *d, unsigned level, const char *text)
{
    d->fresh = true;
    if (d->man) {
        buf_addz(&d->out, level < 3 ? ".SH " : ".SS ");
        for (const char *p = text; *p; p++)
            buf_addc(&d->out, level < 3 ? (char)toupper((unsigned char)*p) : *p);
        buf_addc(&d->out, '\n');
    } else {
        bool name = strncmp(text, "acpctl", strlen("acpctl")) == 0;
        char first = (char)(name ? text[0] : toupper((unsigned char)text[0]));
        buf_addf(&d->out, "%.*s %c%s\n\n", (int)level, "######", first, text + 1);
    }
}

/* A term and what it is. */
static void item(Doc *d, Str term, const char *text)
{
    buf_addz(&d->out, d->man ? ".TP\n.B " : "- `");
    if (d->man)
        roff(&d->out, term);
    else
        buf_adds(&d->out, term);
    buf_addz(&d->out, d->man ? "\n" : "` ");
    words(d, str_from(text));
    buf_addc(&d->out, '\n');
}

static void end_items(Doc *d)
{
    buf_addz(&d->out, d->man ? "" : "\n");
}

static void code_line(Doc *d, const char *before, Str line)
{
    if (d->man) {
        roff(&d->out, str_from(before));
        roff(&d->out, line);
    } else {
        buf_addz(&d->out, before);
        buf_adds(&d->out, line);
    }
    buf_addc(&d->out, '\n');
}

/* Command lines get the program's name, comments do not. */
static void code(Doc *d, const char *text)
{
    new_paragraph(d);
    buf_addz(&d->out, d->man ? ".nf\n.RS 4\n" : "```sh\n");
    Str rest = str_from(text);
    while (rest.ptr) {
        Str line = str_cut(&rest, '\n');
        code_line(d, str_starts(line, STR("#")) ? "" : "acpctl ", line);
    }
    buf_addz(&d->out, d->man ? ".RE\n.fi\n" : "```\n\n");
}

/* ---- parts of a command ---- */

static bool is_placeholder(const char *values)
{
    return values && *values && strspn(values, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == strlen(values);
}

static const char *value_of(const Opt *o)
{
    switch (o->type) {
    case OPT_BOOL:
        return NULL;
    case OPT_INT:
    case OPT_FLOAT:
        return "N";
    case OPT_DURATION:
        return "TIME";
    default:
        return is_placeholder(o->values) ? o->values : "VALUE";
    }
}

static void option(Doc *d, const Opt *table, const Opt *o)
{
    CLEANUP_BUF Buf term = BUF_INIT(512);
    CLEANUP_BUF Buf text = BUF_INIT(4096);
    if (o->letter)
        buf_addf(&term, "-%c, ", o->letter);
    buf_addf(&term, "--%s", o->name);
    if (value_of(o))
        buf_addf(&term, " %s", value_of(o));
    buf_addz(&text, o->help);
    if (o->dflt && o->type != OPT_BOOL)
        buf_addf(&text, " (default %s)", o->dflt);
    for (const Opt *a = table; a->name; a++) {
        if (a->alias_of && strcmp(a->alias_of, o->name) == 0)
            buf_addf(&text, "; also --%s", a->name);
    }
    item(d, buf_str(&term), text.data);
}

static void options(Doc *d, const Opt *table)
{
    for (const Opt *o = table; o && o->name; o++) {
        if (o->help)
            option(d, table, o);
    }
    end_items(d);
}

/* "1 they differ" */
static void exits(Doc *d, const char *text)
{
    Str rest = str_from(text);
    while (rest.ptr) {
        Str line = str_cut(&rest, '\n');
        Str status = str_cut(&line, ' ');
        CLEANUP_FREE char *meaning = str_dup(line);
        item(d, status, meaning);
    }
    end_items(d);
}

static void synopsis(Doc *d, const Command *c)
{
    CLEANUP_BUF Buf line = BUF_INIT(1024);
    const char *usage = c->run ? c->usage : "COMMAND";
    buf_addf(&line, "%s %s%s[flags]", c->words, usage, *usage ? " " : "");
    if (d->man) {
        new_paragraph(d);
        buf_addz(&d->out, ".B acpctl ");
        roff(&d->out, buf_str(&line));
        buf_addc(&d->out, '\n');
    } else {
        code(d, line.data);
    }
}

/* The page of one command has sections; a command among others has paragraphs. */
static void part(Doc *d, unsigned level, const char *title)
{
    CLEANUP_FREE char *sentence = xasprintf("%c%s:", toupper((unsigned char)title[0]), title + 1);
    if (d->man && level == 2)
        heading(d, 2, title);
    else
        paragraph(d, sentence);
}

static void body(Doc *d, const Command *c, unsigned level)
{
    bool page = d->man && level == 2;
    synopsis(d, c);
    if (page && (c->text || c->aliases))
        heading(d, 2, "description");
    if (c->text)
        paragraph(d, c->text);
    if (c->aliases) {
        CLEANUP_FREE char *also = xasprintf("Also called: %s.", c->aliases);
        paragraph(d, also);
    }
    if (c->opts && c->opts->name) {
        if (page)
            heading(d, 2, "options");
        options(d, c->opts);
    }
    if (c->exits) {
        part(d, level, "exit status");
        exits(d, c->exits);
    }
    if (c->examples) {
        if (d->man)
            part(d, level, "examples");
        code(d, c->examples);
    }
}

static bool is_top(const Command *c)
{
    return !strchr(c->words, ' ');
}

static bool is_below(const Command *c, const Command *top)
{
    size_t n = strlen(top->words);
    return strncmp(c->words, top->words, n) == 0 && c->words[n] == ' ';
}

/* ---- manual pages ---- */

static void page_begin(Doc *d, const char *name, const char *help)
{
    d->man = true;
    buf_addz(&d->out, ".TH ");
    for (const char *p = name; *p; p++)
        buf_addc(&d->out, (char)toupper((unsigned char)*p));
    buf_addz(&d->out, " 1 " MANUAL_DATE " \"ambient " AMBIENT_VERSION "\" \"Ambient manual\"\n");
    heading(d, 2, "name");
    roff(&d->out, str_from(name));
    buf_addz(&d->out, " \\- ");
    roff_text(&d->out, str_from(help));
    buf_addc(&d->out, '\n');
}

static int page_end(Doc *d, const char *dir, const char *name, Err *err)
{
    CLEANUP_FREE char *path = xasprintf("%s/%s.1", dir, name);
    int rc = buf_check(&d->out, err);
    if (rc == 0)
        rc = file_write_atomic(path, buf_str(&d->out), 0644, err);
    buf_done(&d->out);
    return rc;
}

static int page_of(const Command *top, const char *dir, Err *err)
{
    Doc d = {.out = BUF_INIT((size_t)1 << 20)};
    CLEANUP_FREE char *name = xasprintf("acpctl-%s", top->words);
    page_begin(&d, name, top->help);
    heading(&d, 2, "synopsis");
    body(&d, top, 2);
    bool any = false;
    COMMAND_FOREACH(c)
    {
        if (!c->help || !is_below(c, top))
            continue;
        if (!any)
            heading(&d, 2, "commands");
        any = true;
        heading(&d, 3, c->words);
        paragraph(&d, c->help);
        body(&d, c, 3);
    }
    heading(&d, 2, "see also");
    buf_addz(&d.out, ".BR acpctl (1)\n");
    return page_end(&d, dir, name, err);
}

static void common_parts(Doc *d)
{
    heading(d, 2, "global options");
    options(d, root_opts);
    heading(d, 2, "exit status");
    for (const ExitStatus *e = exit_statuses; e->text; e++) {
        CLEANUP_FREE char *number = xasprintf("%d", e->status);
        item(d, str_from(number), e->text);
    }
    end_items(d);
    heading(d, 2, "environment");
    for (size_t i = 0; i < ARRAY_LEN(environment); i++)
        item(d, str_from(environment[i].name), environment[i].text);
    end_items(d);
    heading(d, 2, "files");
    item(d, STR("~/.config/ambient/config.json"),
         "contexts, and the login of each: mode 0600, written whole under a lock");
    end_items(d);
}

static const char about[] =
    "Runs and follows agent sessions on an Ambient platform. Results go to standard output, "
    "warnings and the one line of an error to standard error.";

static int main_page(const char *dir, Err *err)
{
    Doc d = {.out = BUF_INIT((size_t)1 << 20)};
    page_begin(&d, "acpctl", "run and follow agent sessions");
    heading(&d, 2, "synopsis");
    buf_addz(&d.out, ".B acpctl\nCOMMAND [arguments] [flags]\n");
    heading(&d, 2, "description");
    roff_text(&d.out, str_from(about));
    buf_addz(&d.out, "\nFlags may stand anywhere behind the command; \\-\\- ends them.\n");
    heading(&d, 2, "commands");
    COMMAND_FOREACH(c)
    {
        CLEANUP_FREE char *page = xasprintf("acpctl-%s(1)", c->words);
        if (c->help && is_top(c))
            item(&d, str_from(page), c->help);
    }
    common_parts(&d);
    heading(&d, 2, "see also");
    buf_addz(&d.out, ".BR ambient (1),\n.BR ambient (7)\n");
    return page_end(&d, dir, "acpctl", err);
}

static int write_pages(const char *dir, Err *err)
{
    int rc = dir_make(dir, 0755, err);
    if (rc == 0)
        rc = main_page(dir, err);
    COMMAND_FOREACH(c)
    {
        if (rc == 0 && c->help && is_top(c))
            rc = page_of(c, dir, err);
    }
    return rc;
}

/* ---- Markdown ---- */

static int write_markdown(Err *err)
{
    Doc d = {.out = BUF_INIT((size_t)4 << 20)};
    heading(&d, 1, "acpctl");
    paragraph(&d, about);
    buf_addz(
        &d.out,
        "Made from the command table by `scripts/docs.sh`; a test tells when it must be made again.\n\n");
    COMMAND_FOREACH(c)
    {
        if (!c->help)
            continue;
        CLEANUP_FREE char *title = xasprintf("acpctl %s", c->words);
        heading(&d, is_top(c) ? 2 : 3, title);
        CLEANUP_FREE char *sentence = xasprintf("%s.", c->help);
        paragraph(&d, sentence);
        body(&d, c, 3);
    }
    common_parts(&d);
    int rc = buf_check(&d.out, err);
    if (rc == 0) {
        while (d.out.len > 1 && d.out.data[d.out.len - 2] == '\n')
            buf_truncate(&d.out, d.out.len - 1);
        fwrite(d.out.data, 1, d.out.len, stdout);
    }
    buf_done(&d.out);
    return rc;
}

int main(int argc, char **argv)
{
    Err err = {0};
    int rc;
    if (argc == 3 && strcmp(argv[1], "man") == 0)
        rc = write_pages(argv[2], &err);
    else if (argc == 2 && strcmp(argv[1], "markdown") == 0)
        rc = write_markdown(&err);
    else
        rc = err_set(&err, ERR_USAGE, "usage: acpctl-docs man DIR | markdown");
    if (rc < 0)
        fprintf(stderr, "acpctl-docs: %s\n", err.msg);
    return rc < 0;
}
