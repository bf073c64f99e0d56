/* ambient-control-plane: brings each session to where it should be. */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "app.h"
#include "base/log.h"
#include "shim.h"

static int report(const Err *err)
{
    fprintf(stderr, "ambient-control-plane: %s\n", err->msg);
    return err_info(err->code)->exit_code;
}

/* The platform's token is in our memory: no core file and nobody else's debugger shall have it. */
static void harden(void)
{
    const struct rlimit none = {0, 0};
    umask(077);
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* The reference's level names; what is not understood is info. */
static LogLevel log_level(const char *text)
{
    static const struct {
        const char *name;
        LogLevel level;
    } others[] = {{"trace", LOG_DEBUG}, {"fatal", LOG_ERROR}, {"panic", LOG_ERROR}, {"disabled", LOG_OFF}};
    LogLevel level = LOG_INFO;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (strcmp(text, others[i].name) == 0)
            return others[i].level;
    log_level_parse(str_from(text), &level);
    return level;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "shim") == 0)
        return shim_main(argc, argv);
    Config c;
    Err err = {0};
    int rc = config_load(&c, argc, argv, &err);
    if (rc == -ERR_CANCELLED) /* --help */
        return 0;
    if (rc < 0)
        return report(&err);
    if (c.version) {
        printf("ambient-control-plane %s\n", AMBIENT_VERSION);
        config_free(&c);
        return 0;
    }
    harden();
    log_setup("ambient-control-plane", log_level(c.log_level), strcmp(c.log_format, "json") == 0);
    rc = app_run(&c, &err);
    config_free(&c);
    return rc < 0 ? report(&err) : rc;
}
