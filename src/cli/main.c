/* acpctl: main. */
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "cmd.h"
#include "complete.h"
#include "output.h"
#include "plugin.h"

/* What a server or a file said is part of the message, so it is cleaned like any other text. */
static int fail(const Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(64 * 1024);
    clean_text(&text, str_from(err->msg), true);
    fprintf(stderr, "Error: " STR_FMT "\n", STR_ARG(buf_str(&text)));
    return err_info(err->code)->exit_code;
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
    if (argc > 1 && !command_is_known(argv[1]))
        plugin_run(argc, argv);
    if (args_parse(argc, argv, &cmd, &args, &err) < 0)
        return fail(&err);
    if (!args)
        return 0;
    if (!cmd) {
        puts("acpctl version " AMBIENT_VERSION);
        return 0;
    }
    App app = {0};
    int rc = app_init(&app, args, &err);
    if (rc == 0)
        rc = cmd->run(&app, args, &err);
    int exit_code = app.exit_code;
    app_done(&app);
    if (rc < 0 && !exit_code)
        return fail(&err);
    if (rc < 0)
        (void)fail(&err);
    return exit_code;
}
