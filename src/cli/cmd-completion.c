/* Completion scripts ask the program itself what may stand next, so that they never fall behind the command
 * table. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include "options.h"

static const struct {
    const char *shell, *script;
} scripts[] = {
    {"bash", "_acpctl() {\n"
             "    mapfile -t COMPREPLY < <(acpctl __complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
             "}\n"
             "complete -o default -F _acpctl acpctl\n"},
    {"zsh", "#compdef acpctl\n"
            "_acpctl() {\n"
            "    local -a found\n"
            "    found=(\"${(@f)$(acpctl __complete \"${(@)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
            "    compadd -a found\n"
            "}\n"
            "compdef _acpctl acpctl\n"},
    {"fish", "complete -c acpctl -f -a '(acpctl __complete (commandline -opc)[2..] (commandline -ct) "
             "2>/dev/null)'\n"},
};

static int cmd_completion(App *app, const Args *a, Err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        if (strcmp(scripts[i].shell, arg_at(a, 0)) == 0) {
            fputs(scripts[i].script, stdout);
            return 0;
        }
    }
    return err_set(err, ERR_USAGE, "no completion for shell \"%s\": there are bash, zsh, fish", arg_at(a, 0));
}

const Command commands_completion[] = {
    {.words = "completion",
     .usage = "SHELL",
     .min = 1,
     .max = 1,
     .help = "Print a completion script (bash, zsh, fish)",
     .run = cmd_completion,
     .examples = "# in ~/.bashrc\n"
                 "completion bash > ~/.local/share/bash-completion/completions/acpctl"},
    {0},
};
