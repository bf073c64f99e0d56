#include "output.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/vec.h"
#include "jsonpath.h"
#include "yaml/yaml.h"

static const char *const format_names[] = {
    [FORMAT_TABLE] = "table",
    [FORMAT_WIDE] = "wide",
    [FORMAT_JSON] = "json",
    [FORMAT_YAML] = "yaml",
    [FORMAT_NAME] = "name",
    [FORMAT_JSONPATH] = "jsonpath=",
    [FORMAT_COLUMNS] = "custom-columns=",
};

/* The last two take what stands behind their '='. */
int format_of(const Args *a, Format *ret, Err *err)
{
    const char *o = opt_str(a, "output");
    if (!o || !*o) {
        *ret = FORMAT_TABLE;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(format_names); i++) {
        const char *name = format_names[i];
        bool takes_more = name[strlen(name) - 1] == '=';
        if (takes_more ? strncmp(o, name, strlen(name)) == 0 : strcmp(o, name) == 0) {
            *ret = (Format)i;
            return 0;
        }
    }
    CLEANUP_BUF Buf b = BUF_INIT(256);
    for (size_t i = 0; i < ARRAY_LEN(format_names); i++)
        buf_addf(&b, "%s%s", i ? ", " : "", format_names[i]);
    return err_set(err, ERR_USAGE, "unknown output format \"%s\": valid formats are %s", o, b.data);
}

/* What stands behind "jsonpath=". */
static const char *format_argument(const Args *a)
{
    return strchr(opt_str(a, "output"), '=') + 1;
}

static const char *const head_members[] = {"id", "kind", "href", "created_at", "updated_at"};
static const char *const list_members[] = {"kind", "page", "size", "total", "items"};

static bool one_of(const char *key, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(key, names[i]) == 0)
            return true;
    }
    return false;
}

static json_t *ordered_object(const json_t *v)
{
    json_t *items = json_get_arr(v, "items");
    const char *const *first = items ? list_members : head_members;
    json_t *out = json_object();
    for (size_t i = 0; i < 5; i++) {
        json_t *m = json_object_get(v, first[i]);
        if (m && m == items)
            json_object_set_new(out, first[i], json_ordered(m));
        else if (m)
            json_object_set(out, first[i], m);
    }
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)v, key, member)
    {
        if (!one_of(key, first, 5))
            json_object_set(out, key, member);
    }
    return out;
}

json_t *json_ordered(const json_t *v)
{
    if (json_is_object(v))
        return ordered_object(v);
    if (!json_is_array(v))
        return json_incref((json_t *)(uintptr_t)v);
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(v); i++) {
        json_t *m = json_array_get(v, i);
        json_array_append_new(out, json_is_object(m) ? ordered_object(m) : json_incref(m));
    }
    return out;
}

static int flush_text(const Buf *b)
{
    fwrite(b->data ? b->data : "", 1, b->len, stdout);
    return 0;
}

/* JSON may hold DEL and the C1 controls, which act on a terminal, as they are: there they are escaped, which
 * says the same. */
static void put_json(Str text)
{
    bool terminal = stdout_is_terminal();
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        unsigned char next = i + 1 < text.len ? (unsigned char)text.ptr[i + 1] : 0;
        bool c1 = c == 0xc2 && next >= 0x80 && next < 0xa0;
        if (terminal && (c1 || c == 0x7f))
            printf("\\u00%02x", c1 ? next : c);
        else
            putchar(c);
        i += terminal && c1;
    }
}

void print_json_line(Str text)
{
    put_json(text);
    putchar('\n');
}

int print_json(const json_t *v)
{
    CLEANUP_JSON json_t *o = json_ordered(v);
    CLEANUP_BUF Buf b = BUF_INIT(SIZE_MAX / 2);
    json_write_pretty(&b, o, 2);
    put_json(buf_str(&b));
    return 0;
}

static int print_yaml(const json_t *v, Err *err)
{
    CLEANUP_JSON json_t *o = json_ordered(v);
    CLEANUP_BUF Buf b = BUF_INIT(SIZE_MAX / 2);
    int rc = yaml_write(&b, o, err);
    return rc < 0 ? rc : flush_text(&b);
}

static void print_name(const char *noun, const json_t *obj)
{
    CLEANUP_BUF Buf clean = BUF_INIT(64 * 1024);
    Str id = json_get_strv(obj, "id");
    if (stdout_is_terminal())
        clean_text(&clean, id, false);
    printf("%s/" STR_FMT "\n", noun, STR_ARG(stdout_is_terminal() ? buf_str(&clean) : id));
}

/* ---- jsonpath=, custom-columns= ---- */

static int print_jsonpath(const Args *a, const json_t *v, Err *err)
{
    CLEANUP(jsonpath_freep) JsonPath *p = NULL;
    CLEANUP_BUF Buf b = BUF_INIT(SIZE_MAX / 2);
    CLEANUP_BUF Buf clean = BUF_INIT(SIZE_MAX / 2);
    int rc = jsonpath_parse(format_argument(a), &p, err);
    if (rc < 0)
        return rc;
    jsonpath_print(p, v, &b);
    if (!stdout_is_terminal())
        return flush_text(&b);
    clean_text(&clean, buf_str(&b), true);
    buf_addc(&clean, '\n');
    return flush_text(&clean);
}

typedef struct CustomColumn {
    char *title;
    JsonPath *path;
} CustomColumn;
typedef VEC_OF(CustomColumn)
CustomColumns;

static void custom_done(CustomColumns *c)
{
    VEC_FOREACH (c, one) {
        free(one->title);
        jsonpath_free(one->path);
    }
    vec_free(c);
}

/* A comma inside brackets or quotes belongs to the path. */
static Str next_column(Str *rest)
{
    size_t depth = 0;
    for (size_t i = 0; i < rest->len; i++) {
        char c = rest->ptr[i];
        depth += c == '[' || c == '{' || c == '(';
        depth -= (c == ']' || c == '}' || c == ')') && depth;
        if (c == ',' && !depth) {
            Str one = str_slice(*rest, 0, i);
            *rest = str_slice(*rest, i + 1, rest->len);
            return one;
        }
    }
    Str one = *rest;
    *rest = STR_NULL;
    return one;
}

static int custom_parse(const Args *a, CustomColumns *out, Err *err)
{
    Str rest = str_from(format_argument(a));
    while (rest.ptr) {
        Str path = next_column(&rest), title = str_cut(&path, ':');
        CLEANUP_FREE char *text = path.ptr ? str_dup(path) : NULL;
        CustomColumn c = {0};
        int rc = text && title.len
                     ? jsonpath_parse_field(text, &c.path, err)
                     : err_set(err, ERR_USAGE, "custom-columns is TITLE:PATH,TITLE:PATH, not \"%s\"",
                               format_argument(a));
        if (rc < 0)
            return rc;
        c.title = str_dup(title);
        vec_push(out, c);
    }
    return 0;
}

static void custom_cell(Buf *b, const JsonPath *p, const json_t *obj)
{
    CLEANUP_JSON json_t *values = jsonpath_values(p, obj);
    for (size_t i = 0; i < json_array_size(values); i++) {
        buf_addz(b, i ? "," : "");
        value_text(b, json_array_get(values, i));
    }
    if (!json_array_size(values))
        buf_addz(b, "<none>");
}

static int print_custom(const Args *a, const json_t *items, Err *err)
{
    CLEANUP(custom_done) CustomColumns cols = {0};
    int rc = custom_parse(a, &cols, err);
    if (rc < 0)
        return rc;
    CLEANUP(table_freep) Table *t = table_new("", false, !opt_bool(a, "no-headers"));
    VEC_FOREACH (&cols, c)
        table_add_column(t, c->title);
    CLEANUP_FREE Buf *bufs = xcalloc(cols.len, sizeof(Buf));
    CLEANUP_FREE Str *cells = xcalloc(cols.len, sizeof(Str));
    for (size_t row = 0; row < json_array_size(items); row++) {
        for (size_t i = 0; i < cols.len; i++) {
            buf_init(&bufs[i], 1024 * 1024);
            custom_cell(&bufs[i], cols.ptr[i].path, json_array_get(items, row));
            cells[i] = buf_str(&bufs[i]);
        }
        table_row_cells(t, cells, cols.len);
        for (size_t i = 0; i < cols.len; i++)
            buf_done(&bufs[i]);
    }
    return 0;
}

/* JSON, YAML and the two with a path, for a list or one object. False: the format is for rows. */
static bool print_whole(const Args *a, Format f, const json_t *v, int *ret_rc, Err *err)
{
    const json_t *items = json_is_array(v) ? v : json_get_arr(v, "items");
    CLEANUP_JSON json_t *single = items ? NULL : json_array();
    switch (f) {
    case FORMAT_JSON:
        *ret_rc = print_json(v);
        return true;
    case FORMAT_YAML:
        *ret_rc = print_yaml(v, err);
        return true;
    case FORMAT_JSONPATH:
        *ret_rc = print_jsonpath(a, v, err);
        return true;
    case FORMAT_COLUMNS:
        if (single)
            json_array_append(single, (json_t *)(uintptr_t)v);
        *ret_rc = print_custom(a, items ? items : single, err);
        return true;
    case FORMAT_TABLE:
    case FORMAT_WIDE:
    case FORMAT_NAME:
        break;
    }
    return false;
}

static Table *table_for(const Args *a, Format f, const char *columns)
{
    Table *t = table_new(columns, f == FORMAT_WIDE, !opt_bool(a, "no-headers"));
    if (opt_bool(a, "show-labels"))
        table_add_column(t, "LABELS:labels:30");
    return t;
}

int print_list(const Args *a, const json_t *list, const char *noun, const char *columns, const char *empty,
               Err *err)
{
    Format f;
    int rc = format_of(a, &f, err);
    if (rc < 0 || print_whole(a, f, list, &rc, err))
        return rc;
    const json_t *items = json_is_array(list) ? list : json_get_arr(list, "items");
    CLEANUP(table_freep) Table *t = f != FORMAT_NAME ? table_for(a, f, columns) : NULL;
    for (size_t i = 0; i < json_array_size(items); i++) {
        if (t)
            table_row(t, json_array_get(items, i));
        else
            print_name(noun, json_array_get(items, i));
    }
    if (t && json_array_size(items) == 0 && empty)
        fprintf(stderr, "%s\n", empty);
    return 0;
}

int print_object(const Args *a, const json_t *obj, const char *noun, const char *columns, Err *err)
{
    Format f;
    int rc = format_of(a, &f, err);
    if (rc < 0 || print_whole(a, f, obj, &rc, err))
        return rc;
    if (f == FORMAT_NAME) {
        print_name(noun, obj);
        return 0;
    }
    CLEANUP(table_freep) Table *t = table_for(a, f, columns);
    table_row(t, obj);
    return 0;
}
