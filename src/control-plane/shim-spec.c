#include "shim-spec.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/secret.h"
#include "json/json.h"

/* More than this many arguments, variables or paths is a mistake, not a wish. */
#define STRVEC_MAX 4096

void strvec_take(StrVec *v, char *s)
{
    vec_push(v, s);
}

void strvec_add(StrVec *v, const char *s)
{
    strvec_take(v, xstrdup(s));
}

char **strvec_end(StrVec *v)
{
    vec_push(v, NULL);
    v->len--;
    return v->ptr;
}

void strvec_done(StrVec *v)
{
    for (size_t i = 0; i < v->len; i++)
        free(v->ptr[i]);
    vec_free(v);
}

void strvec_erase(StrVec *v)
{
    for (size_t i = 0; i < v->len; i++)
        secret_erase(v->ptr[i], strlen(v->ptr[i]));
    strvec_done(v);
}

void shim_spec_init(ShimSpec *s)
{
    *s = (ShimSpec){.uid = -1, .gid = -1};
}

void shim_spec_done(ShimSpec *s)
{
    strvec_erase(&s->env);
    free(s->session);
    free(s->dir);
    free(s->workspace);
    free(s->cookie);
    if (s->agui_token)
        secret_erase(s->agui_token, strlen(s->agui_token));
    free(s->agui_token);
    free(s->cgroup);
    strvec_done(&s->argv);
    strvec_done(&s->writable);
    strvec_done(&s->hidden);
    shim_spec_init(s);
}

/* ---- one table for both directions ---- */

typedef enum SpecType { SPEC_TEXT, SPEC_INT, SPEC_BOOL, SPEC_LIST } SpecType;
typedef struct SpecField {
    const char *key;
    SpecType type;
    size_t offset;
} SpecField;

#define FIELD(name, type)                                                                                    \
    {                                                                                                        \
#name, type, offsetof(ShimSpec, name)                                                                \
    }
_Static_assert(sizeof(Usec) == sizeof(int64_t), "durations travel as integers");
static const SpecField fields[] = {
    FIELD(session, SPEC_TEXT),   FIELD(run, SPEC_INT),     FIELD(dir, SPEC_TEXT),
    FIELD(workspace, SPEC_TEXT), FIELD(argv, SPEC_LIST),   FIELD(env, SPEC_LIST),
    FIELD(port, SPEC_INT),       FIELD(listen, SPEC_BOOL), FIELD(cookie, SPEC_TEXT),
    FIELD(grace, SPEC_INT),      FIELD(log_max, SPEC_INT), FIELD(mem_max, SPEC_INT),
    FIELD(files_max, SPEC_INT),  FIELD(uid, SPEC_INT),     FIELD(gid, SPEC_INT),
    FIELD(writable, SPEC_LIST),  FIELD(cgroup, SPEC_TEXT), FIELD(agui_token, SPEC_TEXT),
    FIELD(hidden, SPEC_LIST),
};
#undef FIELD

static void write_list(Buf *out, const StrVec *v)
{
    buf_addc(out, '[');
    for (size_t i = 0; i < v->len; i++) {
        if (i > 0)
            buf_addc(out, ',');
        json_write_str_plain(out, str_from(v->ptr[i]));
    }
    buf_addc(out, ']');
}

static void write_field(Buf *out, const ShimSpec *s, const SpecField *f)
{
    const char *at = (const char *)s + f->offset;
    switch (f->type) {
    case SPEC_TEXT:
        json_write_str_plain(out, str_from(*(char *const *)(const void *)at));
        break;
    case SPEC_INT:
        buf_add_i64(out, *(const int64_t *)(const void *)at);
        break;
    case SPEC_BOOL:
        buf_addz(out, *(const bool *)at ? "true" : "false");
        break;
    case SPEC_LIST:
        write_list(out, (const StrVec *)(const void *)at);
        break;
    }
}

int shim_spec_write(const ShimSpec *s, Buf *out, Err *err)
{
    bool first = true;
    buf_addc(out, '{');
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        json_key(out, &first, fields[i].key);
        write_field(out, s, &fields[i]);
    }
    json_key(out, &first, "sandbox");
    json_write_str_plain(out, str_from(sandbox_mode_name(s->sandbox)));
    buf_addc(out, '}');
    return buf_check(out, err);
}

static int read_list(const json_t *j, StrVec *v)
{
    if (!json_is_array(j) || json_array_size(j) > STRVEC_MAX)
        return -1;
    for (size_t i = 0; i < json_array_size(j); i++) {
        const json_t *e = json_array_get(j, i);
        if (!json_is_string(e))
            return -1;
        strvec_add(v, json_string_value(e));
    }
    return 0;
}

static int read_field(const json_t *j, ShimSpec *s, const SpecField *f)
{
    char *at = (char *)s + f->offset;
    switch (f->type) {
    case SPEC_TEXT:
        if (!json_is_string(j))
            return -1;
        *(char **)(void *)at = xstrdup(json_string_value(j));
        return 0;
    case SPEC_INT:
        if (!json_is_integer(j))
            return -1;
        *(int64_t *)(void *)at = json_integer_value(j);
        return 0;
    case SPEC_BOOL:
        *(bool *)at = json_is_true(j);
        return json_is_boolean(j) ? 0 : -1;
    case SPEC_LIST:
        return read_list(j, (StrVec *)(void *)at);
    }
    return -1;
}

int shim_spec_read(Str text, ShimSpec *ret, Err *err)
{
    CLEANUP_JSON json_t *j = NULL;
    int rc = json_parse(text, &j, err);
    if (rc < 0)
        return err_wrap(err, "shim: spec");
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (read_field(json_object_get(j, fields[i].key), ret, &fields[i]) < 0)
            return err_set(err, ERR_INVALID, "shim: spec: bad field \"%s\"", fields[i].key);
    if (sandbox_mode_parse(json_get_strv(j, "sandbox"), &ret->sandbox) < 0 || ret->argv.len == 0)
        return err_set(err, ERR_INVALID, "shim: spec: no program or no sandbox mode");
    return 0;
}

/* ---- reports ---- */

void shim_report_write(const ShimReport *r, Buf *out)
{
    bool first = true;
    buf_addc(out, '{');
    json_key(out, &first, "code");
    json_write_str_plain(out, str_from(r->code == ERR_OK ? "OK" : err_info(r->code)->name));
    json_key(out, &first, "message");
    json_write_str_plain(out, str_from(r->message));
    buf_addz(out, "}\n");
}

int shim_report_read(Str text, ShimReport *ret, Err *err)
{
    CLEANUP_JSON json_t *j = NULL;
    if (json_parse(str_trim(text), &j, NULL) < 0)
        return err_set(err, ERR_UNAVAILABLE, "the shim ended without an answer");
    Str code = json_get_strv(j, "code");
    const char *message = json_get_str(j, "message");
    *ret = (ShimReport){.code = ERR_INTERNAL};
    snprintf(ret->message, sizeof(ret->message), "%s", message ? message : "");
    if (str_eqz(code, "OK"))
        ret->code = ERR_OK;
    for (int c = ERR_OK + 1; c < _ERR_MAX; c++)
        if (str_eqz(code, err_info((ErrCode)c)->name))
            ret->code = (ErrCode)c;
    return 0;
}
