#include "cmd.h"

#include <stdio.h>
#include "plugin.h"

static void print_plugin(void *arg, const char *name, const char *path)
{
    *(size_t *)arg += 1;
    printf("%-20s %s%s\n", name, path, command_find(name) ? " (hidden by the command of that name)" : "");
}

static int cmd_plugin_list(App *app, const Args *a, Err *err)
{
    size_t n = 0;
    plugin_each(print_plugin, &n);
    if (!n)
        fputs("No plugins found: programs called acpctl-NAME on the PATH.\n", stderr);
    return 0;
}

const Command commands_plugin[] = {
    {.words = "plugin",
     .usage = "",
     .help = "Programs called acpctl-NAME on the PATH are commands",
     .text = "`acpctl NAME ARGS...` runs acpctl-NAME. It finds AMBIENT_API_URL, AMBIENT_PROJECT and "
             "AMBIENT_CONFIG in its "
             "environment; the token is in that file only."},
    {.words = "plugin list",
     .usage = "",
     .help = "List plugins",
     .run = cmd_plugin_list,
     .examples = "plugin list"},
    {0},
};
