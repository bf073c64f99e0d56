/* api: any request of the API with the login, the project and the errors of the other commands. */
#include "cmd.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/mem.h"
#include "options.h"
#include "output.h"

#define API_PATH "/api/ambient/v1"
#define BODY_MAX ((size_t)64 << 20)

/* "sessions", "/sessions?size=1" and "/api/ambient/v1/sessions" are the same; whole addresses are not taken,
   as the token would go there. */
static int api_path(const char *word, char **ret, Err *err)
{
    if (strncmp(word, API_PATH "/", strlen(API_PATH) + 1) == 0)
        word += strlen(API_PATH);
    if (strstr(word, "://") && strstr(word, "://") < word + strcspn(word, "/?") + 1)
        return err_set(err, ERR_USAGE, "%s: a path below " API_PATH ", not a whole address", word);
    for (const char *p = word; *p; p++) {
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || *p == '#')
            return err_set(err, ERR_USAGE, "a path must be escaped (%%20 for a blank): %s", word);
    }
    *ret = xasprintf("%s%s", *word == '/' ? "" : "/", word);
    return 0;
}

static bool is_method(const char *word)
{
    size_t n = strlen(word);
    return n > 0 && n <= 10 && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == n;
}

/* NAME=VALUE is a text, NAME:=VALUE is JSON. */
static int field_body(const Args *a, Buf *out, Err *err)
{
    const char *const *words;
    size_t n = opt_list(a, "field", &words);
    CLEANUP_JSON json_t *body = json_object();
    for (size_t i = 0; i < n; i++) {
        Str value = str_from(words[i]), name = str_cut(&value, '=');
        json_t *v = NULL;
        bool typed = name.len > 1 && name.ptr[name.len - 1] == ':';
        if (!value.ptr || !name.len)
            return err_set(err, ERR_USAGE, "--field %s: must be NAME=TEXT or NAME:=JSON", words[i]);
        name.len -= typed;
        if (typed && json_parse(value, &v, NULL) < 0)
            return err_set(err, ERR_USAGE, "--field %s: what stands behind := is no JSON", words[i]);
        CLEANUP_FREE char *key = str_dup(name);
        json_object_set_new(body, key, typed ? v : json_strv(value));
    }
    json_write(out, body);
    return buf_check(out, err);
}

static int read_body(const Args *a, Buf *out, Err *err)
{
    const char *file = opt_str(a, "input");
    if (file && opt_given(a, "field"))
        return err_set(err, ERR_USAGE, "--input and --field cannot be given together");
    if (!file)
        return opt_given(a, "field") ? field_body(a, out, err) : 0;
    return file_read(strcmp(file, "-") == 0 ? "/dev/stdin" : file, out, err);
}

/* JSON in the wanted format; what is none as it came, but cleaned on a terminal. */
static int print_answer(const Args *a, const Exchange *x, Err *err)
{
    CLEANUP_BUF Buf clean = BUF_INIT(2 * BODY_MAX);
    if (x->answer && !opt_given(a, "output"))
        return print_json(x->answer);
    if (x->answer)
        return print_list(a, x->answer, "object", "ID:id:27", NULL, err);
    if (stdout_is_terminal())
        clean_text(&clean, buf_str(x->text), true);
    Str text = buf_str(stdout_is_terminal() ? &clean : x->text);
    fwrite(text.len ? text.ptr : "", 1, text.len, stdout);
    return 0;
}

static int all_pages(App *app, const Args *a, char *path, Err *err)
{
    CLEANUP_JSON json_t *list = NULL;
    char *query = strchr(path, '?');
    if (query)
        *query++ = '\0';
    int rc = app_client(app, err);
    if (rc == 0)
        rc = app_list(app, path, query, 0, &list, err);
    return rc < 0 ? rc : print_answer(a, &(Exchange){.answer = list}, err);
}

static int cmd_api(App *app, const Args *a, Err *err)
{
    CLEANUP_BUF Buf body = BUF_INIT(BODY_MAX);
    CLEANUP_BUF Buf text = BUF_INIT(BODY_MAX);
    CLEANUP_FREE char *path = NULL;
    CLEANUP_FREE char *method = xstrdup(args_len(a) > 1 ? arg_at(a, 0) : "");
    Format f;
    int rc = format_of(a, &f, err);
    if (rc == 0 && args_len(a) > 1 && !is_method(method))
        rc = err_set(err, ERR_USAGE, "\"%s\" is no method; use GET, POST, PATCH, PUT or DELETE", method);
    if (rc == 0)
        rc = api_path(arg_at(a, args_len(a) - 1), &path, err);
    if (rc == 0)
        rc = read_body(a, &body, err);
    if (rc < 0)
        return rc;
    for (char *p = method; *p; p++)
        *p = (char)toupper((unsigned char)*p);
    bool has_body = opt_given(a, "input") || opt_given(a, "field");
    const char *verb = *method ? method : has_body ? "POST" : "GET";
    if (opt_bool(a, "paginate"))
        return strcmp(verb, "GET") == 0 ? all_pages(app, a, path, err)
                                        : err_set(err, ERR_USAGE, "--paginate is for GET");
    Exchange x = {.method = verb,
                  .path = path,
                  .body = has_body ? (body.len ? buf_str(&body) : STR("")) : STR_NULL,
                  .content_type = opt_str(a, "content-type"),
                  .accept = opt_str(a, "accept"),
                  .text = &text};
    rc = app_exchange(app, &x, err);
    if (rc == 0)
        rc = print_answer(a, &x, err);
    json_decref(x.answer);
    if (body.data)
        secret_erase(body.data, body.len); /* it may have held one */
    return rc;
}

static const Opt opts_api[] = {
    OPTS_PROJECT,
    OPT("output", STR, "json (default), yaml, name, jsonpath=TEMPLATE or custom-columns=TITLE:PATH",
        .letter = 'o', .values = "json yaml name jsonpath= custom-columns="),
    OPTS_NO_HEADERS,
    OPT("field", LIST, "member of the body: NAME=TEXT or NAME:=JSON; may be repeated", .letter = 'f'),
    OPT("input", STR, "file with the body, - for standard input", .values = "FILE"),
    OPT("paginate", BOOL, "every page of a list as one"),
    OPT("accept", STR, "what to ask for instead of JSON"),
    OPT("content-type", STR, "of the body, when it is not JSON"),
    {0},
};

const Command commands_api[] = {
    {.words = "api",
     .usage = "[METHOD] PATH",
     .min = 1,
     .max = 2,
     .help = "Send a request to the API as it is",
     .opts = opts_api,
     .run = cmd_api,
     .text =
         "PATH is below " API_PATH " and must be escaped. METHOD is GET, or POST with a body. The request "
         "has the login and the project of the other commands; an error of the server is theirs, too. "
         "Give secrets by --input, not by --field: a command line is seen by others.",
     .examples = "api '/sessions?size=1'\n"
                 "api /agents --paginate -o jsonpath='{.items[*].name}'\n"
                 "api PATCH /projects/demo -f description='for tests'\n"
                 "# a text that is no JSON\n"
                 "api /sessions/ID/logs --accept text/plain"},
    {0},
};
