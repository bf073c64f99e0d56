#include "pager.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the environment, as git does: children that write into the pipe are written for a terminal, too. */
#define IN_USE "ACPCTL_PAGER_IN_USE"

extern char **environ;

bool pager_is_used(void)
{
    const char *used = getenv(IN_USE);
    return used && *used;
}

static bool is_wanted(const App *app, const Command *c, const char *pager)
{
    return c->paged && pager && *pager && strcmp(pager, "cat") != 0 && !opt_bool(app->args, "no-pager") &&
           !opt_bool(app->args, "watch") && !opt_bool(app->args, "follow") &&
           !opt_bool(app->args, "follow-reconnect") && isatty(STDOUT_FILENO);
}

/* By the shell, as pagers are set with options: pager="less -S". less ends at once when it all fits, shows
   colours and leaves the text there, unless LESS says something else. */
static pid_t spawn_pager(const char *pager, int in)
{
    const char *const words[] = {"/bin/sh", "-c",  "LESS=${LESS-FRX}; export LESS; eval \"$1\"",
                                 "sh",      pager, NULL};
    char *argv[6];
    memcpy(argv, words, sizeof(argv));
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return 0;
    if (posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO) != 0 ||
        posix_spawn(&pid, "/bin/sh", &actions, NULL, argv, environ) != 0)
        pid = 0;
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

pid_t pager_start(const App *app, const Command *c)
{
    const char *pager = config_get(app->cfg, "pager", NULL);
    int ends[2];
    if (!is_wanted(app, c, pager) || pipe2(ends, O_CLOEXEC) < 0)
        return 0;
    pid_t pid = spawn_pager(pager, ends[0]);
    if (pid && dup2(ends[1], STDOUT_FILENO) >= 0)
        (void)setenv(IN_USE, "1", 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return pid;
}

void pager_wait(pid_t pager)
{
    if (!pager)
        return;
    (void)signal(SIGINT, SIG_IGN); /* the keys are the pager's */
    (void)fflush(stdout);
    (void)close(STDOUT_FILENO);
    while (waitpid(pager, NULL, 0) < 0 && errno == EINTR)
        ;
}
