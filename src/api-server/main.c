/* ambient-api-server: REST and gRPC over the store. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"
#include "build-info.h"
#include "config.h"
#include "encrypt.h"
#include "keys.h"
#include "move.h"
#include "permissions.h"
#include "seed-admin.h"
#include "server.h"
#include "store/store.h"

static void print_usage(FILE *out)
{
    (void)fputs("usage: ambient-api-server COMMAND [FLAGS]\n\n"
                "commands:\n"
                "  serve     serve REST and gRPC\n"
                "  migrate   bring the store to this program's schema\n"
                "  verify    check the hash chains of messages (--session ID: of one session)\n"
                "  export    write the whole store to --file; the same command again goes on after a crash\n"
                "  import    read such a file into an empty store; likewise\n"
                "  encrypt-credentials  encrypt stored secrets with the active key (--decrypt: back)\n"
                "  seed-admin   make --username NAME an administrator\n"
                "  permissions  print which permission each path and RPC needs\n"
                "  version   print the version\n\n"
                "flags, with their environment variables:\n",
                out);
    flags_help(config_flags, out);
}

static int report(const Err *err)
{
    (void)fprintf(stderr, "ambient-api-server: %s\n", err->msg);
    return err_info(err->code)->exit_code;
}

static int cmd_serve(const Config *c)
{
    Err err = {0};
    CLEANUP(keyring_freep) KeyRing *keys = NULL;
    if (keys_load(c, &keys, &err) < 0) {
        (void)fprintf(stderr, "FATAL: %s\n", err.msg);
        return 1;
    }
    keys_announce(keys);
    if (config_check_exposure(c, &err) < 0)
        return report(&err);
    return server_run(c, keys, &err) < 0 ? report(&err) : 0;
}

static int cmd_seed_admin(const Config *c)
{
    Err err = {0};
    return seed_admin_run(c, &err) < 0 ? report(&err) : 0;
}

static int cmd_encrypt(const Config *c)
{
    Err err = {0};
    int rc = encrypt_credentials(c, &err);
    return rc < 0 ? report(&err) : rc;
}

static int cmd_migrate(const Config *c)
{
    Err err = {0};
    int from = 0, to = 0;
    CLEANUP_FREE char *shown = store_url_shown(c->db_url);
    const StoreOptions where = config_store(c);
    if (store_migrate(&where, &from, &to, &err) < 0)
        return report(&err);
    if (from == to)
        (void)printf("%s: schema %d, nothing to do\n", shown, to);
    else
        (void)printf("%s: schema %d -> %d\n", shown, from, to);
    return 0;
}

static void print_bad(void *arg, Str session_id, uint64_t seq, const char *why)
{
    unsigned *bad = arg;
    (*bad)++;
    (void)printf("session " STR_FMT ", seq %llu: %s\n", STR_ARG(session_id), (unsigned long long)seq, why);
}

static int cmd_verify(const Config *c)
{
    Err err = {0};
    unsigned bad = 0;
    uint64_t rows = 0;
    const StoreOptions where = config_store(c);
    if (store_verify(&where, str_from(c->session), print_bad, &bad, &rows, &err) < 0)
        return report(&err);
    (void)printf("%llu messages checked, %u sessions do not fit\n", (unsigned long long)rows, bad);
    return bad ? 1 : 0;
}

static int cmd_export(const Config *c)
{
    Err err = {0};
    return move_export(c, &err) < 0 ? report(&err) : 0;
}

static int cmd_import(const Config *c)
{
    Err err = {0};
    int rc = move_import(c, &err);
    return rc < 0 ? report(&err) : rc;
}

static int cmd_permissions(const Config *c)
{
    permissions_print();
    return 0;
}

static int cmd_version(const Config *c)
{
    (void)printf("ambient-api-server %s (%s)\n", AMBIENT_VERSION, build_version);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(const Config *c);
} commands[] = {
    {"serve", cmd_serve},           {"migrate", cmd_migrate},         {"verify", cmd_verify},
    {"export", cmd_export},         {"import", cmd_import},           {"encrypt-credentials", cmd_encrypt},
    {"seed-admin", cmd_seed_admin}, {"permissions", cmd_permissions}, {"version", cmd_version}};

/* Tokens are in our memory: nobody else's debugger and no core file shall have them. Many descriptors: one
   each for every client. */
static void harden(void)
{
    struct rlimit files, none = {0, 0};
    (void)umask(077);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)signal(SIGXFSZ, SIG_IGN); /* ulimit -f: an error of the write, as with a full disk */
    (void)setrlimit(RLIMIT_CORE, &none);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int run(int (*command)(const Config *), int argc, char **argv)
{
    Config c = {0};
    Err err = {0};
    LogLevel level;
    int rc = config_load(&c, argc, argv, &err);
    if (rc == -ERR_CANCELLED) /* --help */
        return 0;
    if (rc < 0) {
        print_usage(stderr);
        return report(&err);
    }
    if (log_level_parse(str_from(c.log_level), &level) < 0) {
        (void)err_set(&err, ERR_USAGE, "--log-level must be debug, info, warn, error or off");
        config_free(&c);
        return report(&err);
    }
    log_setup("ambient-api-server", level, c.log_json);
    int status = command(&c);
    config_free(&c);
    return status;
}

int main(int argc, char **argv)
{
    harden();
    for (size_t i = 0; argc > 1 && i < ARRAY_LEN(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return run(commands[i].run, argc - 1, argv + 1);
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
                             strcmp(argv[1], "help") == 0);
    print_usage(help ? stdout : stderr);
    return help ? 0 : 2;
}
