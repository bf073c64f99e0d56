#include "output.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "yaml/yaml.h"

int format_of(const Args *a, Format *ret, Err *err)
{
    static const char *const names[] = {"table", "wide", "json", "yaml", "name"};
    const char *o = opt_str(a, "output");
    if (!o || !*o) {
        *ret = FORMAT_TABLE;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(o, names[i]) == 0) {
            *ret = (Format)i;
            return 0;
        }
    }
    return err_set(err, ERR_USAGE,
                   "unknown output format \"%s\": valid formats are table, wide, json, yaml, name", o);
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
    printf("%s/%s\n", noun, json_get_str(obj, "id") ? json_get_str(obj, "id") : "");
}

int print_list(const Args *a, const json_t *list, const char *noun, const char *columns, const char *empty,
               Err *err)
{
    Format f;
    int rc = format_of(a, &f, err);
    if (rc < 0)
        return rc;
    if (f == FORMAT_JSON)
        return print_json(list);
    if (f == FORMAT_YAML)
        return print_yaml(list, err);
    const json_t *items = json_is_array(list) ? list : json_get_arr(list, "items");
    CLEANUP(table_freep) Table *t = NULL;
    if (f != FORMAT_NAME)
        t = table_new(columns, f == FORMAT_WIDE, !opt_bool(a, "no-headers"));
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
    if (rc < 0)
        return rc;
    if (f == FORMAT_JSON)
        return print_json(obj);
    if (f == FORMAT_YAML)
        return print_yaml(obj, err);
    if (f == FORMAT_NAME) {
        print_name(noun, obj);
        return 0;
    }
    CLEANUP(table_freep) Table *t = table_new(columns, f == FORMAT_WIDE, !opt_bool(a, "no-headers"));
    table_row(t, obj);
    return 0;
}
