/* acpctl: main. */
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "cmd.h"
#include "complete.h"
#include "output.h"
#include "pager.h"
#include "plugin.h"

/* Asked of the words themselves: an error of theirs is told in the wanted format, too. */
static bool wants_json(int argc, char **argv)
{
    bool json = false;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--error-format") == 0 && i + 1 < argc)
            json = strcmp(argv[++i], "json") == 0;
        else if (strncmp(argv[i], "--error-format=", 15) == 0)
            json = strcmp(argv[i] + 15, "json") == 0;
    }
    return json;
}

/* The server's code and status when the error is an answer of it. */
static void fail_json(const Err *err, const Failure *f, Str text)
{
    bool answered = f->status && err_from_http(f->status) == err->code;
    CLEANUP_BUF Buf b = BUF_INIT(64 * 1024);
    CLEANUP_JSON json_t *j = json_object();
    json_object_set_new(j, "code", json_string(answered && f->code[0] ? f->code : err_info(err->code)->name));
    json_object_set_new(j, "reason", json_strv(text));
    json_object_set_new(j, "status", json_integer(answered ? f->status : 0));
    json_object_set_new(j, "operation_id", json_string(answered ? f->operation : ""));
    json_write(&b, j);
    fprintf(stderr, STR_FMT "\n", STR_ARG(buf_str(&b)));
}

/* What a server or a file said is part of the message, so it is cleaned like any other text. */
static int fail(const Err *err, const Failure *f, bool json)
{
    CLEANUP_BUF Buf text = BUF_INIT(64 * 1024);
    clean_text(&text, str_from(err->msg), true);
    if (json)
        fail_json(err, f, buf_str(&text));
    else
        fprintf(stderr, "Error: " STR_FMT "\n", STR_ARG(buf_str(&text)));
    return err_info(err->code)->exit_code;
}

static int one_of(const Args *args, const char *opt, const char *words, Err *err)
{
    const char *given = opt_str(args, opt);
    Str rest = str_from(words);
    while (given && rest.ptr) {
        if (str_eqz(str_cut(&rest, ' '), given))
            return 0;
    }
    return given ? err_set(err, ERR_USAGE, "--%s %s: must be one of: %s", opt, given, words) : 0;
}

/* --color is handed on as the variables that say the same, so plugins and pagers know it, too. */
static int use_options(const Args *args, Err *err)
{
    const char *color = opt_str(args, "color");
    int rc = one_of(args, "error-format", "text json", err);
    if (rc == 0)
        rc = one_of(args, "color", "auto always never", err);
    if (rc == 0 && color && strcmp(color, "auto") != 0) {
        bool always = strcmp(color, "always") == 0;
        (void)setenv(always ? "CLICOLOR_FORCE" : "NO_COLOR", "1", 1);
        (void)unsetenv(always ? "NO_COLOR" : "CLICOLOR_FORCE");
    }
    return rc;
}

static int run(const Command *cmd, const Args *args, bool json)
{
    App app = {0};
    Err err = {0};
    pid_t pager = 0;
    int rc = use_options(args, &err);
    if (rc == 0)
        rc = app_init(&app, args, &err);
    if (rc == 0) {
        pager = pager_start(&app, cmd);
        rc = cmd->run(&app, args, &err);
    }
    int exit_code = app.exit_code;
    Failure failure = app.failure;
    app_done(&app);
    pager_wait(pager);
    if (rc < 0 && !exit_code)
        return fail(&err, &failure, json);
    if (rc < 0)
        (void)fail(&err, &failure, json);
    return exit_code;
}

int main(int argc, char **argv)
{
    log_setup("acpctl", LOG_WARN, false);
    setlocale(LC_CTYPE, "C.UTF-8");
    if (argc > 1 && strcmp(argv[1], "__complete") == 0) {
        command_complete(argc - 2, argv + 2, stdout, complete_names);
        return 0;
    }
    Err err = {0};
    CLEANUP(args_freep) Args *args = NULL;
    const Command *cmd = NULL;
    bool json = wants_json(argc, argv);
    if (argc > 1 && !command_is_known(argv[1]))
        plugin_run(argc, argv);
    if (args_parse(argc, argv, &cmd, &args, &err) < 0)
        return fail(&err, &(Failure){0}, json);
    if (!args)
        return 0;
    if (!cmd) {
        puts("acpctl version " AMBIENT_VERSION);
        return 0;
    }
    return run(cmd, args, json);
}
