/* replacements: a value of one document goes into fields of others. */
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "kustomize-internal.h"
#include "yaml/yaml.h"

#define SEGMENTS_MAX 64

typedef struct Path {
    char *segments[SEGMENTS_MAX];
    size_t n;
} Path;

static void path_done(Path *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->segments[i]);
}

/* "[a.b/c]" is a key with dots; "[name=x]" is an element. */
static char *take_segment(Buf *b)
{
    Str s = buf_str(b);
    if (s.len < 3 || s.ptr[0] != '[' || s.ptr[s.len - 1] != ']' || str_find_byte(s, '=') >= 0)
        return buf_take(b);
    char *key = str_dup(str_slice(s, 1, s.len - 1));
    buf_clear(b);
    return key;
}

/* "metadata.annotations.a\.b", "metadata.annotations.[a.b]", "items.[name=x].value", "items.*.value" */
static int parse_path(const char *text, Path *p, Err *err)
{
    CLEANUP_BUF Buf b = BUF_INIT(8192);
    bool bracket = false;
    for (const char *c = text;; c++) {
        if (*c == '\0' || (*c == '.' && !bracket)) {
            if (!b.len || p->n == SEGMENTS_MAX)
                return err_set(err, ERR_INVALID, "\"%s\" is no field path", text);
            p->segments[p->n++] = take_segment(&b);
            if (!*c)
                return 0;
            continue;
        }
        bracket = *c == '[' || (bracket && *c != ']');
        if (*c == '\\' && c[1] == '.')
            c++;
        buf_addc(&b, *c);
    }
}

/* Flat documents have no metadata and no spec: there the members are meant themselves. */
static size_t first_segment(const Doc *d, const Path *p)
{
    bool outer = p->n > 1 && (strcmp(p->segments[0], "metadata") == 0 || strcmp(p->segments[0], "spec") == 0);
    return outer && !json_get_obj(d->body, p->segments[0]) && manifest_kind(doc_kind(d)) ? 1 : 0;
}

/* ---- reading and writing at a path ---- */

typedef struct Replacement {
    const json_t *value; /* of the source */
    const char *delimiter;
    int64_t index;
    bool create;
    size_t done;
} Replacement;

/* A scalar keeps the type that stands there where it can: a text stays one, and digits become a number. */
static json_t *in_type_of(const json_t *value, const json_t *old)
{
    CLEANUP_BUF Buf b = BUF_INIT(64 * 1024);
    json_t *number = NULL;
    if (json_is_string(old) && (json_is_number(value) || json_is_boolean(value))) {
        json_write(&b, value);
        return json_strv(buf_str(&b));
    }
    if (json_is_number(old) && json_is_string(value) &&
        json_parse(str_from(json_string_value(value)), &number, NULL) == 0 && json_is_number(number))
        return number;
    json_decref(number);
    return json_deep_copy(value);
}

/* With a delimiter only one part of the text is replaced; an index outside adds a part. */
static json_t *new_value(const Replacement *r, const json_t *old)
{
    if (!r->delimiter || !json_is_string(old) || !json_is_string(r->value))
        return in_type_of(r->value, old);
    CLEANUP_BUF Buf b = BUF_INIT(16 * 1024 * 1024);
    Str rest = {json_string_value(old), json_string_length(old)}, d = str_from(r->delimiter);
    const char *value = json_string_value(r->value);
    bool placed = r->index < 0;
    if (placed)
        buf_addf(&b, "%s%s", value, r->delimiter);
    for (int64_t i = 0;; i++) {
        ptrdiff_t at = d.len ? str_find(rest, d) : -1;
        Str part = at < 0 ? rest : str_slice(rest, 0, (size_t)at);
        if (i == r->index) {
            buf_addz(&b, value);
            placed = true;
        } else {
            buf_adds(&b, part);
        }
        if (at < 0)
            break;
        buf_adds(&b, d);
        rest = str_slice(rest, (size_t)at + d.len, rest.len);
    }
    if (!placed)
        buf_addf(&b, "%s%s", r->delimiter, value);
    return json_strv(buf_str(&b));
}

static bool element_matches(const json_t *one, const char *segment)
{
    Str inner = str_slice(str_from(segment), 1, strlen(segment) - 1), value = inner,
        key = str_cut(&value, '=');
    CLEANUP_FREE char *name = str_dup(key);
    return value.ptr && str_eq(json_get_strv(one, name), value);
}

static void write_at(json_t *node, const Path *p, size_t at, Replacement *r);

static void write_array(json_t *node, const Path *p, size_t at, Replacement *r)
{
    const char *segment = p->segments[at];
    uint64_t index = UINT64_MAX;
    bool all = strcmp(segment, "*") == 0, by_key = segment[0] == '[';
    if (!all && !by_key && str_to_u64(str_from(segment), &index) < 0)
        return;
    for (size_t i = 0; i < json_array_size(node); i++) {
        json_t *one = json_array_get(node, i);
        if (!all && i != index && !(by_key && element_matches(one, segment)))
            continue;
        if (at + 1 < p->n) {
            write_at(one, p, at + 1, r);
        } else {
            json_array_set_new(node, i, new_value(r, one));
            r->done++;
        }
    }
}

static void write_at(json_t *node, const Path *p, size_t at, Replacement *r)
{
    const char *segment = p->segments[at];
    if (json_is_array(node)) {
        write_array(node, p, at, r);
        return;
    }
    if (!json_is_object(node))
        return;
    json_t *child = json_object_get(node, segment);
    if (!child && !r->create)
        return;
    if (at + 1 == p->n) {
        json_object_set_new(node, segment, new_value(r, child));
        r->done++;
        return;
    }
    if (!child)
        json_object_set_new(node, segment, json_object());
    write_at(json_object_get(node, segment), p, at + 1, r);
}

static json_t *read_at(json_t *node, const Path *p, size_t at)
{
    for (; node && at < p->n; at++) {
        const char *segment = p->segments[at];
        if (!json_is_array(node)) {
            node = json_object_get(node, segment);
            continue;
        }
        uint64_t index;
        json_t *found = NULL;
        bool by_index = str_to_u64(str_from(segment), &index) == 0;
        for (size_t i = 0; i < json_array_size(node) && !found; i++) {
            json_t *one = json_array_get(node, i);
            if (by_index ? i == index : segment[0] == '[' && element_matches(one, segment))
                found = one;
        }
        node = found;
    }
    return node;
}

/* ---- one replacement ---- */

static int find_source(Layer *l, const json_t *source, Doc **ret, Err *err)
{
    CLEANUP(target_freep) Target *t = NULL;
    int rc = target_new(source, &t, err);
    *ret = NULL;
    for (size_t i = 0; rc == 0 && i < l->docs->len; i++) {
        if (!target_matches(t, l->docs->ptr[i]))
            continue;
        if (*ret)
            return err_set(err, ERR_INVALID, "%s: replacements: several documents match the source", l->file);
        *ret = l->docs->ptr[i];
    }
    return rc < 0 || *ret
               ? rc
               : err_set(err, ERR_NOT_FOUND, "%s: replacements: no document matches the source", l->file);
}

static int option_index(const json_t *options, int64_t *ret, Err *err)
{
    const char *index = json_get_str(options, "index");
    *ret = 0;
    if (index && str_to_i64(str_from(index), ret) < 0)
        return err_set(err, ERR_INVALID, "replacements: options.index is no number");
    return 0;
}

static json_t *part_of(const json_t *value, const char *delimiter, int64_t index)
{
    Str rest = {json_string_value(value), json_string_length(value)}, d = str_from(delimiter);
    for (int64_t i = 0; rest.ptr && d.len; i++) {
        ptrdiff_t at = str_find(rest, d);
        if (i == index)
            return json_strv(at < 0 ? rest : str_slice(rest, 0, (size_t)at));
        if (at < 0)
            return NULL;
        rest = str_slice(rest, (size_t)at + d.len, rest.len);
    }
    return NULL;
}

static int source_value(Layer *l, const json_t *source, json_t **ret, Err *err)
{
    Doc *d = NULL;
    CLEANUP(path_done) Path p = {0};
    const char *path = json_get_str(source, "fieldPath");
    const json_t *options = json_get_obj(source, "options");
    const char *delimiter = json_get_str(options, "delimiter");
    int64_t index = 0;
    int rc = find_source(l, source, &d, err);
    if (rc == 0)
        rc = parse_path(path ? path : "metadata.name", &p, err);
    if (rc == 0)
        rc = option_index(options, &index, err);
    if (rc < 0 || !d)
        return rc;
    json_t *v = read_at(d->body, &p, first_segment(d, &p));
    *ret = v && delimiter && *delimiter ? part_of(v, delimiter, index) : v ? json_deep_copy(v) : NULL;
    return *ret ? 0
                : err_set(err, ERR_NOT_FOUND, "%s: replacements: %s is not in the source", l->file,
                          path ? path : "metadata.name");
}

static bool is_rejected(const json_t *rejects, const Doc *d, int *ret_rc, Err *err)
{
    for (size_t i = 0; i < json_array_size(rejects); i++) {
        CLEANUP(target_freep) Target *t = NULL;
        *ret_rc = target_new(json_array_get(rejects, i), &t, err);
        if (*ret_rc < 0 || target_matches(t, d))
            return true;
    }
    return false;
}

static int write_fields(Layer *l, Doc *d, const json_t *paths, Replacement *r, Err *err)
{
    for (size_t i = 0; i < json_array_size(paths); i++) {
        CLEANUP(path_done) Path p = {0};
        const char *text = json_string_value(json_array_get(paths, i));
        int rc = parse_path(text ? text : "", &p, err);
        if (rc < 0)
            return err_wrap(err, "%s: replacements", l->file);
        r->done = 0;
        write_at(d->body, &p, first_segment(d, &p), r);
        if (!r->done)
            return err_set(err, ERR_NOT_FOUND, "%s: replacements: " STR_FMT "/" STR_FMT " has no %s", l->file,
                           STR_ARG(doc_kind(d)), STR_ARG(doc_name(d)), text);
    }
    return 0;
}

static int write_target(Layer *l, const json_t *target, const json_t *value, Err *err)
{
    CLEANUP(target_freep) Target *t = NULL;
    CLEANUP_JSON json_t *default_path = json_pack("[s]", "metadata.name");
    const json_t *options = json_get_obj(target, "options"), *paths = json_get_arr(target, "fieldPaths");
    const char *create = json_get_str(options, "create"), *delimiter = json_get_str(options, "delimiter");
    Replacement r = {.value = value, .delimiter = delimiter, .create = create && strcmp(create, "true") == 0};
    if (!json_get_obj(target, "select"))
        return err_set(err, ERR_INVALID, "%s: replacements: a target needs select", l->file);
    int rc = target_new(json_get_obj(target, "select"), &t, err);
    if (rc == 0)
        rc = option_index(options, &r.index, err);
    for (size_t i = 0; rc == 0 && i < l->docs->len; i++) {
        Doc *d = l->docs->ptr[i];
        if (target_matches(t, d) && !is_rejected(json_get_arr(target, "reject"), d, &rc, err))
            rc = write_fields(l, d, paths ? paths : default_path, &r, err);
    }
    return rc;
}

static int replace_one(Layer *l, const json_t *spec, Err *err)
{
    CLEANUP_JSON json_t *value = NULL;
    json_t *targets = json_get_arr(spec, "targets");
    if (!json_get_obj(spec, "source") || !targets)
        return err_set(err, ERR_INVALID, "%s: replacements: source and targets are required", l->file);
    int rc = source_value(l, json_get_obj(spec, "source"), &value, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(targets); i++)
        rc = write_target(l, json_array_get(targets, i), value, err);
    return rc;
}

/* An entry is the replacement, or the path of a file with one or a sequence of them. */
static int replace_file(Layer *l, const char *path, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(YAML_SIZE_MAX);
    CLEANUP_JSON json_t *all = NULL;
    int rc = layer_read(l, path, &text, err);
    if (rc == 0)
        rc = yaml_parse_all_as_written(buf_str(&text), &all, err);
    json_t *first = json_array_get(all, 0), *list = json_is_array(first) ? first : all;
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++)
        rc = replace_one(l, json_array_get(list, i), err);
    return rc < 0 ? err_wrap(err, "%s", path) : 0;
}

int layer_replace(Layer *l, Err *err)
{
    json_t *list = json_get_arr(l->doc, "replacements");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        const char *path = json_get_str(one, "path");
        int rc = path ? replace_file(l, path, err) : replace_one(l, one, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}
