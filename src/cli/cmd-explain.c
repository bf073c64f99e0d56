/* explain: what a kind's table says about its members. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "options.h"
#include "output.h"
#include "resource.h"

static const char *type_name(const Field *f)
{
    static const char *const names[] = {
        [FT_STRING] = "text",        [FT_JSON_TEXT] = "JSON in a text",
        [FT_INT32] = "whole number", [FT_INT64] = "whole number",
        [FT_DOUBLE] = "number",      [FT_BOOL] = "true or false",
        [FT_TIME] = "time",
    };
    return f->flags & F_STRING_MAP ? "mapping of texts" : names[f->type];
}

static void add_word(Buf *b, const char *word)
{
    buf_addf(b, "%s%s", b->len ? ", " : "", word);
}

/* "required, cannot be changed, default 0.7" */
static void describe(Buf *b, const Kind *k, const Field *f)
{
    if (f->flags & (F_REQUIRED | F_NOT_EMPTY))
        add_word(b, "required");
    if (!(f->flags & (F_CREATE | F_PATCH)))
        add_word(b, "set by the platform");
    else if (!(f->flags & F_PATCH))
        add_word(b, "cannot be changed");
    if (f->flags & F_WRITE_ONLY)
        add_word(b, "never answered");
    if (f->flags & F_UNIQUE)
        add_word(b, "unique");
    if (f->flags & F_UNIQUE_IN_PARENT)
        add_word(b, "unique in the project");
    if (f->dflt) {
        CLEANUP_FREE char *text = xasprintf("default %s", f->dflt);
        add_word(b, text);
    }
    if (f->max_len && field_is_text(f)) {
        CLEANUP_FREE char *text = xasprintf("at most %zu bytes", f->max_len);
        add_word(b, text);
    }
}

static void explain_field(const Kind *k, const Field *f)
{
    CLEANUP_BUF Buf rules = BUF_INIT(4096);
    describe(&rules, k, f);
    printf("%s.%s <%s>\n", k->name, f->json, type_name(f));
    if (rules.len)
        printf("    %s\n", rules.data);
    if (f->doc)
        printf("\n%s\n", f->doc);
}

static bool is_shown(const Field *f)
{
    return !(f->flags & (F_INTERNAL | F_IGNORED));
}

static void list_fields(const Kind *k, const char *title, bool settable)
{
    printf("\n%s:\n", title);
    for (size_t i = 0; i < k->n_fields; i++) {
        const Field *f = &k->fields[i];
        bool can_be_set = f->flags & (F_CREATE | F_PATCH);
        if (!is_shown(f) || can_be_set != settable)
            continue;
        CLEANUP_FREE char *left = xasprintf("%s <%s>", f->json, type_name(f));
        printf("  %-44s %s%s\n", left, f->doc ? f->doc : "",
               f->flags & (F_REQUIRED | F_NOT_EMPTY) ? " Required." : "");
    }
}

static void explain_kind(const Resource *r)
{
    const Kind *k = r->kind;
    printf("KIND: %s\n", k->name);
    printf("NAMES: %s, %s%s%s\n", r->noun, r->plural, *r->aliases ? " " : "", r->aliases);
    Str rest = str_from(r->collection), head = rest;
    ptrdiff_t at = str_find(rest, STR("%s"));
    if (at >= 0)
        head = str_slice(rest, 0, (size_t)at);
    printf("PATH: /api/ambient/v1" STR_FMT "%s%s\n", STR_ARG(head), at >= 0 ? "{project_id}" : "",
           at >= 0 ? rest.ptr + at + 2 : "");
    list_fields(k, "MEMBERS that may be set", true);
    list_fields(k, "MEMBERS that the platform sets", false);
}

static int unknown_member(const Kind *k, const char *name, Err *err)
{
    const char *near = NULL;
    for (size_t i = 0; i < k->n_fields; i++) {
        if (is_shown(&k->fields[i]) && word_distance(name, k->fields[i].json) <= 2)
            near = k->fields[i].json;
    }
    if (near)
        return err_set(err, ERR_NOT_FOUND, "%s has no member %s; did you mean \"%s\"?", k->name, name, near);
    return err_set(err, ERR_NOT_FOUND, "%s has no member %s", k->name, name);
}

static int cmd_explain(App *app, const Args *a, Err *err)
{
    Str member = str_from(arg_at(a, 0)), word = str_cut(&member, '.');
    CLEANUP_FREE char *kind = str_dup(word);
    const Resource *r = NULL;
    int rc = resource_need(kind, &r, err);
    if (rc < 0)
        return rc;
    if (!member.ptr) {
        explain_kind(r);
        return 0;
    }
    CLEANUP_FREE char *name = str_dup(member);
    int i = kind_field(r->kind, member);
    if (i < 0 || !is_shown(&r->kind->fields[i]))
        return unknown_member(r->kind, name, err);
    explain_field(r->kind, &r->kind->fields[i]);
    return 0;
}

const Command commands_explain[] = {
    {.words = "explain",
     .usage = "RESOURCE[.MEMBER]",
     .min = 1,
     .max = 1,
     .help = "Say what the members of a kind mean",
     .run = cmd_explain,
     .paged = true,
     .examples = "explain agent\nexplain session.phase"},
    {0},
};
