#include "yaml/yaml.h"

#include <libfyaml.h>
#include <stdio.h>
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "scalar-internal.h"

/* A container that is not closed yet. */
typedef struct Frame {
    json_t *value;   /* borrowed: its parent owns it, or Reader.root */
    json_t *merge;   /* values of "<<" keys, applied when the mapping ends; owned */
    char *key;       /* a mapping's key that waits for its value */
    bool key_merges; /* that key is "<<" */
    char *anchor;
    VEC_OF(int)
    key_lines; /* in the order of the mapping's members */
} Frame;

typedef struct Reader {
    struct fy_parser *parser;
    struct fy_diag *diag;
    bool raw; /* scalars as written */
    json_t *documents;
    json_t *root; /* of the current document */
    VEC_OF(Frame)
    frames;
    Map *anchors;  /* name -> json_t, a reference each; of the current document */
    size_t values; /* in all documents, aliases counted as often as they are used */
    Err *err;
} Reader;

/* libfyaml counts lines from 0 in events; -1 where it has none (an empty value). */
static int line_of(struct fy_event *e)
{
    const struct fy_mark *m = fy_event_start_mark(e);
    return m ? m->line + 1 : 0;
}

static Frame *top(Reader *r)
{
    return r->frames.len ? &r->frames.ptr[r->frames.len - 1] : NULL;
}

static Str token_text(struct fy_token *t)
{
    size_t len = 0;
    const char *text = t ? fy_token_get_text(t, &len) : NULL;
    return text ? (Str){text, len} : STR("");
}

static void clear_anchors(Reader *r)
{
    MAP_FOREACH (r->anchors, it)
        json_decref(it.value);
    map_clear(r->anchors);
}

static void frame_done(Frame *f)
{
    json_decref(f->merge);
    free(f->key);
    free(f->anchor);
    vec_free(&f->key_lines);
}

static int bad(Reader *r, struct fy_event *e, const char *what)
{
    int line = line_of(e);
    if (!line)
        return err_set(r->err, ERR_MALFORMED, "%s", what);
    return err_set(r->err, ERR_MALFORMED, "line %d: %s", line, what);
}

static int count_values(Reader *r, size_t n)
{
    r->values += n;
    if (r->values <= JSON_VALUES_MAX)
        return 0;
    return err_set(r->err, ERR_TOO_LARGE, "more than %d YAML values, aliases counted", JSON_VALUES_MAX);
}

static int no_memory(Reader *r)
{
    return err_set(r->err, ERR_TOO_LARGE, "no memory for a YAML value");
}

/* Puts a value (taken over, also on failure) where the document goes on. */
static int attach(Reader *r, json_t *v)
{
    Frame *f = top(r);
    int failed;
    if (!f) {
        r->root = v;
        return 0;
    }
    if (json_is_array(f->value)) {
        failed = json_array_append_new(f->value, v);
    } else if (f->key_merges) {
        if (!f->merge)
            f->merge = json_array();
        failed = json_array_append_new(f->merge, v);
    } else {
        failed = json_object_set_new_nocheck(f->value, f->key, v);
    }
    free(f->key);
    f->key = NULL;
    f->key_merges = false;
    return failed ? no_memory(r) : 0;
}

static int remember(Reader *r, Str anchor, json_t *v)
{
    json_decref(map_put(r->anchors, anchor, json_incref(v)));
    return 0;
}

static int duplicate_key(Reader *r, struct fy_event *e, const Frame *f, Str key)
{
    size_t i = 0;
    for (void *it = json_object_iter(f->value); it; it = json_object_iter_next(f->value, it), i++)
        if (str_eqz(key, json_object_iter_key(it)))
            break;
    int first = i < f->key_lines.len ? f->key_lines.ptr[i] : 0;
    return err_set(r->err, ERR_MALFORMED, "line %d: mapping key \"" STR_FMT "\" already defined at line %d",
                   line_of(e), STR_ARG(key), first);
}

static int take_key(Reader *r, struct fy_event *e, Str key, bool plain)
{
    Frame *f = top(r);
    if (!str_is_utf8(key))
        return bad(r, e, "\\0 is not allowed in strings");
    f->key_merges = plain && str_eqz(key, "<<");
    if (!f->key_merges) {
        if (json_object_getn(f->value, key.ptr, key.len))
            return duplicate_key(r, e, f, key);
        vec_push(&f->key_lines, line_of(e));
    }
    f->key = str_dup(key);
    return count_values(r, 1);
}

/* A mapping's next event is its key, or its end. */
static bool wants_key(const Frame *f)
{
    return f && json_is_object(f->value) && !f->key;
}

static int type_of_tag(Str tag, Str text, bool plain, ScalarType *ret)
{
    static const struct {
        const char *name;
        ScalarType type;
    } tags[] = {{"str", SCALAR_STR},
                {"null", SCALAR_NULL},
                {"bool", SCALAR_BOOL},
                {"int", SCALAR_INT},
                {"float", SCALAR_FLOAT}};
    ScalarType natural = scalar_type(text);
    *ret = plain ? natural : SCALAR_STR;
    if (!tag.len)
        return 0;
    *ret = SCALAR_STR;
    if (str_eqz(tag, "!"))
        return 0;
    if (!str_starts(tag, STR("tag:yaml.org,2002:")))
        return -1;
    tag = str_slice(tag, sizeof("tag:yaml.org,2002:") - 1, tag.len);
    for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
        if (!str_eqz(tag, tags[i].name))
            continue;
        *ret = tags[i].type;
        return *ret == SCALAR_STR || *ret == natural || (*ret == SCALAR_FLOAT && natural == SCALAR_INT) ? 0
                                                                                                        : -1;
    }
    return -1;
}

static json_t *value_of(const Reader *r, Str text, ScalarType type)
{
    if (r->raw && type != SCALAR_NULL)
        type = SCALAR_STR;
    return scalar_value(text, type);
}

static int on_scalar(Reader *r, struct fy_event *e)
{
    struct fy_token *token = fy_event_get_token(e);
    Str text = token_text(token), anchor = token_text(fy_event_get_anchor_token(e));
    bool plain = !token || fy_token_scalar_style(token) == FYSS_PLAIN;
    ScalarType type;
    if (type_of_tag(token_text(fy_event_get_tag_token(e)), text, plain, &type) < 0)
        return bad(r, e,
                   "tag does not fit its value, or is not one of !!str, !!int, !!float, !!bool, !!null");
    if (!wants_key(top(r)) || anchor.len) {
        if (!str_is_utf8(text))
            return bad(r, e, "\\0 is not allowed in strings");
        CLEANUP_JSON json_t *v = value_of(r, text, type);
        if (!v)
            return bad(r, e, "number that JSON cannot hold");
        if (anchor.len)
            remember(r, anchor, v);
        if (!wants_key(top(r)))
            return count_values(r, 1) < 0 ? -(int)ERR_TOO_LARGE : attach(r, json_incref(v));
    }
    return take_key(r, e, text, plain);
}

static int on_open(Reader *r, struct fy_event *e, json_t *container)
{
    Str anchor = token_text(fy_event_get_anchor_token(e));
    Str tag = token_text(fy_event_get_tag_token(e));
    const char *fitting = json_is_object(container) ? "tag:yaml.org,2002:map" : "tag:yaml.org,2002:seq";
    int result = 0;
    if (!container)
        return no_memory(r);
    if (wants_key(top(r)))
        result = bad(r, e, "a mapping or sequence cannot be a key");
    else if (r->frames.len == JSON_DEPTH_MAX)
        result = bad(r, e, "exceeded max depth");
    else if (tag.len && !str_eqz(tag, "!") && !str_eqz(tag, fitting))
        result = bad(r, e, "unknown tag");
    else
        result = count_values(r, 1);
    if (result < 0) {
        json_decref(container);
        return result;
    }
    result = attach(r, container);
    if (result < 0)
        return result;
    vec_push(&r->frames, ((Frame){.value = container, .anchor = anchor.len ? str_dup(anchor) : NULL}));
    return 0;
}

/* Members of a merged mapping that the mapping does not have itself. */
static int merge_one(Reader *r, Frame *f, json_t *from)
{
    if (!json_is_object(from))
        return err_set(r->err, ERR_MALFORMED, "<<: only mappings can be merged");
    return json_object_update_missing(f->value, from) < 0 ? no_memory(r) : 0;
}

static int merge_all(Reader *r, Frame *f)
{
    for (size_t i = 0; i < json_array_size(f->merge); i++) {
        json_t *from = json_array_get(f->merge, i);
        size_t n = json_is_array(from) ? json_array_size(from) : 0;
        for (size_t k = 0; k < n; k++) {
            int result = merge_one(r, f, json_array_get(from, k));
            if (result < 0)
                return result;
        }
        int result = json_is_array(from) ? 0 : merge_one(r, f, from);
        if (result < 0)
            return result;
    }
    return 0;
}

static int on_close(Reader *r)
{
    Frame f = vec_pop(&r->frames);
    int result = merge_all(r, &f);
    if (result == 0 && f.anchor)
        remember(r, str_from(f.anchor), f.value);
    frame_done(&f);
    return result;
}

/* Number of values in v and its height. v came through this reader, so its height is bounded. */
static size_t measure(json_t *v, size_t depth, size_t *height)
{
    size_t n = 1;
    if (depth > *height)
        *height = depth;
    for (size_t i = 0; json_is_array(v) && i < json_array_size(v); i++)
        n += measure(json_array_get(v, i), depth + 1, height);
    for (void *it = json_object_iter(v); it; it = json_object_iter_next(v, it))
        n += 1 + measure(json_object_iter_value(it), depth + 1, height);
    return n;
}

static int on_alias(Reader *r, struct fy_event *e)
{
    json_t *v = map_get(r->anchors, token_text(fy_event_get_token(e)));
    if (!v)
        return bad(r, e, "unknown anchor");
    if (wants_key(top(r))) {
        if (!json_is_string(v))
            return bad(r, e, "only a string can be a key");
        return take_key(r, e, (Str){json_string_value(v), json_string_length(v)}, false);
    }
    size_t height = 0, n = measure(v, 0, &height);
    if (r->frames.len + height > JSON_DEPTH_MAX)
        return bad(r, e, "exceeded max depth");
    if (count_values(r, n) < 0)
        return -(int)ERR_TOO_LARGE;
    json_t *copy = json_deep_copy(v); /* a shared value would change in both places */
    return copy ? attach(r, copy) : no_memory(r);
}

static int on_document_end(Reader *r)
{
    clear_anchors(r);
    json_t *document = r->root ? r->root : json_null();
    r->root = NULL;
    return json_array_append_new(r->documents, document) ? no_memory(r) : 0;
}

static int on_event(Reader *r, struct fy_event *e)
{
    switch (e->type) {
    case FYET_SCALAR:
        return on_scalar(r, e);
    case FYET_SEQUENCE_START:
        return on_open(r, e, json_array());
    case FYET_MAPPING_START:
        return on_open(r, e, json_object());
    case FYET_SEQUENCE_END:
    case FYET_MAPPING_END:
        return on_close(r);
    case FYET_ALIAS:
        return on_alias(r, e);
    case FYET_DOCUMENT_END:
        return on_document_end(r);
    default:
        return 0;
    }
}

static int syntax_error(Reader *r)
{
    void *it = NULL;
    const struct fy_diag_error *why = fy_diag_errors_iterate(r->diag, &it);
    if (!why || !why->msg)
        return err_set(r->err, ERR_MALFORMED, "not YAML");
    return err_set(r->err, ERR_MALFORMED, "line %d: %s", why->line, why->msg);
}

static int read_events(Reader *r)
{
    for (;;) {
        struct fy_event *e = fy_parser_parse(r->parser);
        if (!e)
            return syntax_error(r);
        bool end = e->type == FYET_STREAM_END;
        int result = on_event(r, e);
        fy_parser_event_free(r->parser, e);
        if (result < 0)
            return result;
        if (end)
            return fy_parser_get_stream_error(r->parser) ? syntax_error(r) : 0;
    }
}

static int reader_init(Reader *r, Str text)
{
    struct fy_diag_cfg cfg;
    fy_diag_cfg_default(&cfg);
    cfg.fp = NULL;
    r->diag = fy_diag_create(&cfg);
    if (!r->diag)
        return no_memory(r);
    fy_diag_set_collect_errors(r->diag, true);
    struct fy_parse_cfg parse_cfg = {.flags = FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE, .diag = r->diag};
    r->parser = fy_parser_create(&parse_cfg);
    r->documents = json_array();
    r->anchors = map_new();
    if (!r->parser || !r->documents || fy_parser_set_string(r->parser, text.ptr ? text.ptr : "", text.len))
        return no_memory(r);
    return 0;
}

static void reader_done(Reader *r)
{
    while (r->frames.len) {
        Frame f = vec_pop(&r->frames);
        frame_done(&f);
    }
    vec_free(&r->frames);
    if (r->anchors)
        clear_anchors(r);
    map_free(r->anchors);
    json_decref(r->root);
    json_decref(r->documents);
    if (r->parser)
        fy_parser_destroy(r->parser);
    if (r->diag)
        fy_diag_destroy(r->diag);
}

static int parse(Str text, bool raw, json_t **ret_array, Err *err)
{
    if (text.len > YAML_SIZE_MAX)
        return err_set(err, ERR_TOO_LARGE, "larger than %d bytes", YAML_SIZE_MAX);
    if (!str_is_utf8(text))
        return err_set(err, ERR_MALFORMED, "not UTF-8 text");
    CLEANUP(reader_done) Reader r = {.raw = raw, .err = err};
    int result = reader_init(&r, text);
    if (result == 0)
        result = read_events(&r);
    if (result == 0)
        *ret_array = TAKE(r.documents);
    return result;
}

int yaml_parse_all(Str text, json_t **ret_array, Err *err)
{
    return parse(text, false, ret_array, err);
}

int yaml_parse_all_as_written(Str text, json_t **ret_array, Err *err)
{
    return parse(text, true, ret_array, err);
}
