/* ambient: the platform on one machine. */
#include "launcher-internal.h"

#include <stdio.h>
#include <string.h>
#include "base/flag.h"
#include "base/log.h"

#define F(member) offsetof(Options, member)
static const Flag flags_data[] = {
    {"data", "AMBIENT_DATA", FLAG_STRING, F(data), NULL,
     "where everything is kept (default $XDG_DATA_HOME/ambient)", "DIR"},
    {0},
};
static const Flag flags_up[] = {
    {"data", "AMBIENT_DATA", FLAG_STRING, F(data), NULL,
     "where everything is kept (default $XDG_DATA_HOME/ambient)", "DIR"},
    {"http", NULL, FLAG_STRING, F(http), "127.0.0.1:8000", "address of the REST API; port 0 takes a free one",
     "ADDR"},
    {"grpc", NULL, FLAG_STRING, F(grpc), "127.0.0.1:9000", "address of the gRPC API; port 0 takes a free one",
     "ADDR"},
    {"detach", NULL, FLAG_BOOL, F(detach), "true", "return when the platform is ready", NULL},
    {"foreground", NULL, FLAG_BOOL, F(foreground), "false", "stay, and print the logs", NULL},
    {"no-login", NULL, FLAG_BOOL, F(no_login), "false", "do not log acpctl in", NULL},
    {0},
};
static const Flag flags_down[] = {
    {"data", "AMBIENT_DATA", FLAG_STRING, F(data), NULL, "data directory", "DIR"},
    {"keep-sessions", NULL, FLAG_BOOL, F(keep_sessions), "false",
     "leave running sessions alone; the next `ambient up` takes them over", NULL},
    {0},
};
static const Flag flags_status[] = {
    {"data", "AMBIENT_DATA", FLAG_STRING, F(data), NULL, "data directory", "DIR"},
    {"o", NULL, FLAG_STRING, F(output), "text", "output: text or json", "FORMAT"},
    {"output", NULL, FLAG_STRING, F(output), NULL, NULL, "FORMAT"},
    {0},
};
static const Flag flags_logs[] = {
    {"data", "AMBIENT_DATA", FLAG_STRING, F(data), NULL, "data directory", "DIR"},
    {"f", NULL, FLAG_BOOL, F(follow), "false", "follow", NULL},
    {"n", NULL, FLAG_INT, F(lines), "20", "lines of each log to begin with", "N"},
    {0},
};

typedef struct Command {
    const char *name, *args, *help;
    const Flag *flags;
    int (*run)(const Place *p, const Options *o, Err *err);
} Command;

static const Command commands[] = {
    {"up", "", "start the platform", flags_up, cmd_up},
    {"down", "", "stop it: sessions first, then the programs", flags_down, cmd_down},
    {"status", "", "what runs, where, and how it does", flags_status, cmd_status},
    {"logs", "[ambient|api-server|control-plane]", "show the logs", flags_logs, cmd_logs},
    {"token", "", "print the admin token", flags_data, cmd_token},
};

static void usage(FILE *out)
{
    fputs("Runs LLM agent sessions on this machine.\n\nUsage: ambient COMMAND [flags]\n\n", out);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
    fputs("  version  print the version\n\n`ambient COMMAND --help` tells a command's flags.\n", out);
}

static int fail(const Err *err)
{
    fprintf(stderr, "ambient: %s\n", err->msg);
    return err_info(err->code)->exit_code;
}

static int run_command(const Command *c, const char *called_as, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            printf("Usage: ambient %s %s [flags]\n\n%s\n\n", c->name, c->args, c->help);
            flags_help(c->flags, stdout);
            return 0;
        }
    }
    Options o = {0};
    Place p = {0};
    Err err = {0};
    int rc = flags_parse(c->flags, &o, argc, argv, c->args[0] ? &o.args : NULL, &err);
    if (rc == 0)
        rc = place_init(&p, called_as, o.data, &err);
    if (rc == 0)
        rc = c->run(&p, &o, &err);
    place_done(&p);
    free(o.args);
    flags_free(c->flags, &o);
    return rc < 0 ? fail(&err) : 0;
}

int main(int argc, char **argv)
{
    log_setup("ambient", LOG_INFO, false);
    const char *name = argc > 1 ? argv[1] : "help";
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0) {
        puts("ambient " AMBIENT_VERSION);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return run_command(&commands[i], argv[0], argc - 1, argv + 1);
    }
    bool asked = strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0;
    usage(asked ? stdout : stderr);
    if (!asked)
        fprintf(stderr, "\nambient: unknown command \"%s\"\n", name);
    return asked ? 0 : 2;
}
