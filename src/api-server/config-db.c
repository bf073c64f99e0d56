/* Which database: --db-url, or the reference's flags, each of which names a file with one value. */
#include "config.h"

#include <string.h>
#include "base/file.h"
#include "base/mem.h"
#include "store/store.h"

#define VALUE_MAX ((size_t)4096)
#define LISTENER_AND_WRITER 2

/* libpq's quoting of a keyword's value. */
static void add_word(Buf *out, const char *key, Str value)
{
    (void)buf_addf(out, "%s%s='", out->len ? " " : "", key);
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == '\'' || value.ptr[i] == '\\')
            (void)buf_addc(out, '\\');
        (void)buf_addc(out, value.ptr[i]);
    }
    (void)buf_addc(out, '\'');
}

static int add_from_file(Buf *out, const char *key, const char *path, const char *flag, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(VALUE_MAX);
    if (!path || !*path)
        return 0;
    if (file_read(path, &text, err) < 0)
        return err_wrap(err, "--%s", flag);
    Str value = str_trim(buf_str(&text));
    if (!value.len)
        return err_set(err, ERR_USAGE, "--%s: %s is empty", flag, path);
    add_word(out, key, value);
    return 0;
}

/* db-rootcert has a default in the reference's manifests that need not exist. */
static int add_tls(Buf *out, const Config *c, Err *err)
{
    static const char *const modes[] = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"};
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        known = known || strcmp(modes[i], c->db_sslmode) == 0;
    if (!known)
        return err_set(err, ERR_USAGE,
                       "--db-sslmode must be disable, allow, prefer, require, verify-ca or verify-full");
    add_word(out, "sslmode", str_from(c->db_sslmode));
    if (c->db_rootcert && file_exists(c->db_rootcert))
        add_word(out, "sslrootcert", str_from(c->db_rootcert));
    else if (c->db_rootcert && strncmp(c->db_sslmode, "verify", 6) == 0)
        return err_set(err, ERR_USAGE, "--db-rootcert: there is no file %s", c->db_rootcert);
    return 0;
}

static int url_from_files(Config *c, Err *err)
{
    CLEANUP_BUF Buf out = BUF_INIT(8 * VALUE_MAX);
    const struct {
        const char *key, *path, *flag;
    } rows[] = {
        {"host", c->db_host_file, "db-host-file"},
        {"port", c->db_port_file, "db-port-file"},
        {"user", c->db_user_file, "db-user-file"},
        {"dbname", c->db_name_file, "db-name-file"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int rc = add_from_file(&out, rows[i].key, rows[i].path, rows[i].flag, err);
        if (rc < 0)
            return rc;
    }
    int rc = add_tls(&out, c, err);
    if (rc < 0)
        return rc;
    free(c->db_url);
    c->db_url = xasprintf("postgres:" STR_FMT, STR_ARG(buf_str(&out)));
    return 0;
}

/* The flag, then the reference's flags, then the environment: what stands nearest to the command wins. */
int config_resolve_db(Config *c, bool url_in_argv, Err *err)
{
    bool files = c->db_host_file && *c->db_host_file;
    if (c->db_max_connections < LISTENER_AND_WRITER + 1)
        return err_set(err, ERR_USAGE, "--db-max-open-connections must be at least %d",
                       LISTENER_AND_WRITER + 1);
    if (files && !url_in_argv)
        return url_from_files(c, err);
    if (url_in_argv && store_url_has_password(c->db_url))
        return err_set(
            err, ERR_USAGE,
            "--db-url holds a password, which everybody on this machine can read: put it into a file"
            " and name that in --db-password-file or PGPASSFILE");
    return 0;
}

StoreOptions config_store(const Config *c)
{
    int64_t readers = c->db_max_connections - LISTENER_AND_WRITER;
    return (StoreOptions){
        .url = c->db_url,
        .password_file = c->db_password_file && *c->db_password_file ? c->db_password_file : NULL,
        .readers = readers < 4 ? (unsigned)readers : 0,
        .queue_max = (size_t)c->store_queue,
        .read_limit = c->read_limit,
    };
}
