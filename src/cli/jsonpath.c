#include "jsonpath.h"

#include <string.h>
#include "base/mem.h"
#include "base/vec.h"

#define NODES_MAX 1000
#define NESTING_MAX 16
#define VALUES_MAX 1000000

typedef enum StepType { STEP_NAME, STEP_ALL, STEP_DEEP, STEP_INDEX, STEP_SLICE, STEP_FILTER } StepType;

typedef struct Steps {
    struct Step *ptr;
    size_t len, cap;
} Steps;

typedef struct Step {
    StepType type;
    VEC_OF(char *)
    names; /* STEP_NAME, STEP_DEEP: one or several */
    VEC_OF(int64_t)
    indexes;
    int64_t from, to;
    bool has_from, has_to;
    Steps path; /* STEP_FILTER: @.path */
    char op[3]; /* "" = is there */
    json_t *value;
} Step;

typedef enum NodeType { NODE_TEXT, NODE_PATH, NODE_RANGE, NODE_END } NodeType;

typedef struct Node {
    NodeType type;
    char *text;
    Steps path;
} Node;

struct JsonPath {
    VEC_OF(Node)
    nodes;
};

/* ---- freeing ---- */

static void steps_done(Steps *steps)
{
    VEC_FOREACH (steps, s) {
        VEC_FOREACH (&s->names, n)
            free(*n);
        vec_free(&s->names);
        vec_free(&s->indexes);
        steps_done(&s->path);
        json_decref(s->value);
    }
    vec_free(steps);
}

JsonPath *jsonpath_free(JsonPath *p)
{
    if (!p)
        return NULL;
    VEC_FOREACH (&p->nodes, n) {
        free(n->text);
        steps_done(&n->path);
    }
    vec_free(&p->nodes);
    free(p);
    return NULL;
}

/* ---- parsing ---- */

typedef struct Parser {
    const char *text, *at;
    unsigned depth;
    Err *err;
} Parser;

static int bad(Parser *p, const char *what)
{
    return err_set(p->err, ERR_USAGE, "jsonpath \"%s\": %s at \"%.20s\"", p->text, what, p->at);
}

static void skip_blanks(Parser *p)
{
    while (*p->at == ' ')
        p->at++;
}

static bool take(Parser *p, char c)
{
    skip_blanks(p);
    if (*p->at != c)
        return false;
    p->at++;
    return true;
}

/* 'text' or "text"; \n, \t and \<any> are known. */
static int parse_quoted(Parser *p, char **ret)
{
    CLEANUP_BUF Buf b = BUF_INIT(64 * 1024);
    char quote = *p->at++;
    for (; *p->at && *p->at != quote; p->at++) {
        char c = *p->at;
        if (c == '\\' && p->at[1]) {
            c = *++p->at;
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        buf_addc(&b, c);
    }
    if (!*p->at)
        return bad(p, "a quote is not closed");
    p->at++;
    *ret = buf_take(&b);
    return 0;
}

static bool parse_number(Parser *p, int64_t *ret)
{
    size_t n = strspn(p->at, "-0123456789");
    if (!n || str_to_i64((Str){p->at, n}, ret) < 0)
        return false;
    p->at += n;
    return true;
}

static int parse_steps(Parser *p, Steps *out);

/* A number, true, false, null, or a text in quotes. */
static int parse_literal(Parser *p, json_t **ret)
{
    skip_blanks(p);
    if (*p->at == '"' || *p->at == '\'') {
        CLEANUP_FREE char *text = NULL;
        int rc = parse_quoted(p, &text);
        if (rc == 0)
            *ret = json_strv(str_from(text));
        return rc;
    }
    size_t n = strcspn(p->at, " )");
    if (json_parse((Str){p->at, n}, ret, NULL) < 0)
        return bad(p, "a value is a number, true, false, null or a text in quotes");
    p->at += n;
    return 0;
}

static int parse_filter(Parser *p, Step *s)
{
    static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
    s->type = STEP_FILTER;
    if (++p->depth > NESTING_MAX || !take(p, '(') || !take(p, '@'))
        return bad(p, "a filter is [?(@.member==value)]");
    int rc = parse_steps(p, &s->path);
    if (rc < 0)
        return rc;
    skip_blanks(p);
    for (size_t i = 0; i < ARRAY_LEN(ops) && !*s->op; i++) {
        if (strncmp(p->at, ops[i], strlen(ops[i])) == 0) {
            snprintf(s->op, sizeof(s->op), "%s", ops[i]);
            p->at += strlen(ops[i]);
        }
    }
    if (*s->op && (rc = parse_literal(p, &s->value)) < 0)
        return rc;
    p->depth--;
    return take(p, ')') ? 0 : bad(p, "a filter is [?(@.member==value)]");
}

static int parse_names(Parser *p, Step *s)
{
    s->type = STEP_NAME;
    do {
        char *name = NULL;
        skip_blanks(p);
        if (*p->at != '\'' && *p->at != '"')
            return bad(p, "a name in quotes is missing");
        int rc = parse_quoted(p, &name);
        if (rc < 0)
            return rc;
        vec_push(&s->names, name);
    } while (take(p, ','));
    return 0;
}

static int parse_indexes(Parser *p, Step *s)
{
    int64_t n = 0;
    bool given = parse_number(p, &n);
    if (take(p, ':')) {
        s->type = STEP_SLICE;
        s->from = n;
        s->has_from = given;
        s->has_to = parse_number(p, &s->to);
        return 0;
    }
    s->type = STEP_INDEX;
    if (!given)
        return bad(p, "an index, a name in quotes, * or ?() is missing");
    vec_push(&s->indexes, n);
    while (take(p, ',')) {
        skip_blanks(p);
        if (!parse_number(p, &n))
            return bad(p, "an index is missing");
        vec_push(&s->indexes, n);
    }
    return 0;
}

static int parse_bracket(Parser *p, Step *s)
{
    int rc = 0;
    skip_blanks(p);
    if (*p->at == '\'' || *p->at == '"')
        rc = parse_names(p, s);
    else if (take(p, '*'))
        s->type = STEP_ALL;
    else if (take(p, '?'))
        rc = parse_filter(p, s);
    else
        rc = parse_indexes(p, s);
    return rc == 0 && !take(p, ']') ? bad(p, "] is missing") : rc;
}

static int parse_dot(Parser *p, Step *s)
{
    s->type = STEP_NAME;
    if (*p->at == '.') {
        s->type = STEP_DEEP;
        p->at++;
    }
    if (*p->at == '*') {
        s->type = s->type == STEP_DEEP ? STEP_DEEP : STEP_ALL;
        p->at++;
        return 0;
    }
    CLEANUP_BUF Buf b = BUF_INIT(8192);
    for (; *p->at && !strchr(".[]{}()=!<> ", *p->at); p->at++) {
        if (*p->at == '\\' && p->at[1])
            p->at++;
        buf_addc(&b, *p->at);
    }
    if (!b.len)
        return s->type == STEP_NAME ? 0 : bad(p, "a name is missing");
    vec_push(&s->names, buf_take(&b));
    return 0;
}

static int parse_steps(Parser *p, Steps *out)
{
    while (*p->at == '.' || *p->at == '[') {
        Step s = {0};
        int rc = *p->at++ == '.' ? parse_dot(p, &s) : parse_bracket(p, &s);
        bool nothing = rc == 0 && s.type == STEP_NAME && !s.names.len; /* a lone "." is the whole */
        if (!nothing)
            vec_push(out, s);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* What stands between { and }. */
static int parse_expression(Parser *p, Node *n)
{
    skip_blanks(p);
    n->type = NODE_PATH;
    if (*p->at == '"' || *p->at == '\'') {
        n->type = NODE_TEXT;
        return parse_quoted(p, &n->text);
    }
    if (strncmp(p->at, "end", 3) == 0 && (p->at[3] == '}' || p->at[3] == ' ')) {
        n->type = NODE_END;
        p->at += 3;
        return 0;
    }
    if (strncmp(p->at, "range ", 6) == 0) {
        n->type = NODE_RANGE;
        p->at += 6;
        skip_blanks(p);
    }
    if (*p->at == '$' || *p->at == '@')
        p->at++;
    else if (*p->at != '.' && *p->at != '[')
        return bad(p, "a path begins with . or [");
    return parse_steps(p, &n->path);
}

static int check_ranges(Parser *p, const JsonPath *path)
{
    unsigned open = 0;
    VEC_FOREACH (&path->nodes, n) {
        open += n->type == NODE_RANGE;
        if (n->type == NODE_END && open-- == 0)
            return bad(p, "{end} without {range}");
        if (open > NESTING_MAX)
            return bad(p, "ranges are nested too deep");
    }
    return open ? bad(p, "{end} is missing") : 0;
}

int jsonpath_parse(const char *text, JsonPath **ret, Err *err)
{
    CLEANUP(jsonpath_freep) JsonPath *path = xnew(JsonPath);
    Parser p = {.text = text, .at = text, .err = err};
    while (*p.at) {
        Node n = {.type = NODE_TEXT};
        int rc = 0;
        if (path->nodes.len > NODES_MAX)
            return bad(&p, "too many expressions");
        if (*p.at != '{') {
            size_t len = strcspn(p.at, "{");
            n.text = xmemdup0(p.at, len);
            p.at += len;
        } else {
            p.at++;
            rc = parse_expression(&p, &n);
            if (rc == 0 && !take(&p, '}'))
                rc = bad(&p, "} is missing");
        }
        vec_push(&path->nodes, n);
        if (rc < 0)
            return rc;
    }
    int rc = check_ranges(&p, path);
    if (rc == 0)
        *ret = TAKE(path);
    return rc;
}

int jsonpath_parse_field(const char *text, JsonPath **ret, Err *err)
{
    bool braces = text[0] == '{', dotted = text[0] == '.' || text[0] == '[';
    CLEANUP_FREE char *full = braces ? xstrdup(text) : xasprintf("{%s%s}", dotted ? "" : ".", text);
    int rc = *text ? jsonpath_parse(full, ret, err) : err_set(err, ERR_USAGE, "a path is empty");
    if (rc == 0 && ((*ret)->nodes.len != 1 || (*ret)->nodes.ptr[0].type != NODE_PATH)) {
        *ret = jsonpath_free(*ret);
        return err_set(err, ERR_USAGE, "\"%s\" is not one path", text);
    }
    return rc;
}

/* ---- evaluating: a set of values goes through the steps ---- */

/* JSON in a text is entered. New reference. */
static json_t *opened(json_t *v)
{
    json_t *inner = NULL;
    const char *s = json_string_value(v);
    if (s && (*s == '{' || *s == '[') && json_parse((Str){s, json_string_length(v)}, &inner, NULL) == 0)
        return inner;
    return json_incref(v);
}

static void add(json_t *out, json_t *v)
{
    if (v && json_array_size(out) < VALUES_MAX)
        json_array_append(out, v);
}

static void add_children(json_t *out, json_t *v)
{
    const char *key;
    json_t *one;
    for (size_t i = 0; i < json_array_size(v); i++)
        add(out, json_array_get(v, i));
    json_object_foreach(v, key, one) add(out, one);
}

static void add_names(json_t *out, const Step *s, json_t *v)
{
    VEC_FOREACH (&s->names, n)
        add(out, json_object_get(v, *n));
}

/* JSON from outside is at most JSON_DEPTH_MAX deep. */
static void add_deep(json_t *out, const Step *s, json_t *v)
{
    CLEANUP_JSON json_t *children = json_array();
    if (s->names.len)
        add_names(out, s, v);
    else
        add(out, v);
    add_children(children, v);
    for (size_t i = 0; i < json_array_size(children); i++)
        add_deep(out, s, json_array_get(children, i));
}

static void add_indexes(json_t *out, const Step *s, json_t *v)
{
    int64_t n = (int64_t)json_array_size(v);
    VEC_FOREACH (&s->indexes, i) {
        int64_t at = *i < 0 ? *i + n : *i;
        if (at >= 0 && at < n)
            add(out, json_array_get(v, (size_t)at));
    }
}

static void add_slice(json_t *out, const Step *s, json_t *v)
{
    int64_t n = (int64_t)json_array_size(v), from = s->has_from ? s->from : 0, to = s->has_to ? s->to : n;
    from = from < 0 ? from + n : from;
    to = to < 0 ? to + n : to;
    for (int64_t i = from < 0 ? 0 : from; i < to && i < n; i++)
        add(out, json_array_get(v, (size_t)i));
}

static json_t *run_steps(const Steps *steps, json_t *root);

static int compare(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) {
        double x = json_number_value(a), y = json_number_value(b);
        return (x > y) - (x < y);
    }
    return strcmp(json_string_value(a) ? json_string_value(a) : "",
                  json_string_value(b) ? json_string_value(b) : "");
}

static bool is_kept(const Step *s, json_t *v)
{
    CLEANUP_JSON json_t *found = run_steps(&s->path, v);
    json_t *first = json_array_get(found, 0);
    if (!*s->op || !first)
        return first != NULL && !*s->op;
    bool ordered = (json_is_number(first) && json_is_number(s->value)) ||
                   (json_is_string(first) && json_is_string(s->value));
    bool equal = ordered ? compare(first, s->value) == 0 : json_equal(first, s->value);
    if (s->op[0] == '=' || s->op[0] == '!')
        return equal == (s->op[0] == '=');
    int c = ordered ? compare(first, s->value) : 0;
    return ordered && ((s->op[0] == '<' ? c < 0 : c > 0) || (s->op[1] == '=' && equal));
}

static void run_step(const Step *s, json_t *v, json_t *out)
{
    CLEANUP_JSON json_t *in = opened(v);
    CLEANUP_JSON json_t *children = NULL;
    switch (s->type) {
    case STEP_NAME:
        add_names(out, s, in);
        break;
    case STEP_ALL:
        add_children(out, in);
        break;
    case STEP_DEEP:
        add_deep(out, s, in);
        break;
    case STEP_INDEX:
        add_indexes(out, s, in);
        break;
    case STEP_SLICE:
        add_slice(out, s, in);
        break;
    case STEP_FILTER:
        children = json_array();
        add_children(children, in);
        for (size_t i = 0; i < json_array_size(children); i++) {
            if (is_kept(s, json_array_get(children, i)))
                add(out, json_array_get(children, i));
        }
        break;
    }
}

static json_t *run_steps(const Steps *steps, json_t *root)
{
    json_t *set = json_array();
    json_array_append(set, root);
    VEC_FOREACH (steps, s) {
        json_t *next = json_array();
        for (size_t i = 0; i < json_array_size(set); i++)
            run_step(s, json_array_get(set, i), next);
        json_decref(set);
        set = next;
    }
    return set;
}

static void print_value(Buf *out, const json_t *v)
{
    if (json_is_string(v))
        buf_add(out, json_string_value(v), json_string_length(v));
    else
        json_write_plain(out, v);
}

/* Prints nodes from `at` up to the END of this range; returns the index behind it. */
static size_t print_nodes(const JsonPath *p, size_t at, json_t *root, Buf *out)
{
    while (at < p->nodes.len) {
        const Node *n = &p->nodes.ptr[at++];
        if (n->type == NODE_END)
            return at;
        if (n->type == NODE_TEXT) {
            buf_addz(out, n->text);
            continue;
        }
        CLEANUP_JSON json_t *set = run_steps(&n->path, root);
        size_t len = json_array_size(set), behind = at;
        for (size_t i = 0; i < len && n->type == NODE_PATH; i++) {
            buf_addz(out, i ? " " : "");
            print_value(out, json_array_get(set, i));
        }
        for (size_t i = 0; i < len && n->type == NODE_RANGE; i++)
            behind = print_nodes(p, at, json_array_get(set, i), out);
        if (n->type == NODE_RANGE && len == 0) { /* the end of a range that did not run */
            CLEANUP_BUF Buf unseen = BUF_INIT(0);
            behind = print_nodes(p, at, json_array_get(set, 0), &unseen);
        }
        at = behind;
    }
    return at;
}

void jsonpath_print(const JsonPath *p, const json_t *root, Buf *out)
{
    (void)print_nodes(p, 0, (json_t *)(uintptr_t)root, out);
}

json_t *jsonpath_values(const JsonPath *p, const json_t *root)
{
    return run_steps(&p->nodes.ptr[0].path, (json_t *)(uintptr_t)root);
}
