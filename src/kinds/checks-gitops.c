/* Rules of an application's and a schedule's fields. */
#include "base/buf.h"
#include "cron/cron.h"
#include "table-internal.h"

static int check_word(const char *field, Str s, const char *const *words, size_t n, Err *err)
{
    CLEANUP_BUF Buf list = BUF_INIT(256);
    for (size_t i = 0; i < n; i++) {
        if (str_eqz(s, words[i]))
            return 0;
        (void)buf_addf(&list, "%s%s", i ? ", " : "", words[i]);
    }
    return err_set(err, ERR_INVALID, "invalid %s \"" STR_FMT "\"; must be one of: " STR_FMT, field,
                   STR_ARG(str_slice(s, 0, 64)), STR_ARG(buf_str(&list)));
}

/* "" takes a value away, as a PATCH of the reference does. */
#define WORDS(function, field, ...)                                                                          \
    int function(Str s, Err *err)                                                                            \
    {                                                                                                        \
        static const char *const words[] = {__VA_ARGS__};                                                    \
        return s.len ? check_word(field, s, words, ARRAY_LEN(words), err) : 0;                               \
    }

WORDS(check_overlap_policy, "overlap_policy", "skip", "queue", "replace")
WORDS(check_catch_up, "catch_up", "none", "one", "all")
WORDS(check_sync_status, "sync_status", "Synced", "OutOfSync", "Unknown")
WORDS(check_health_status, "health_status", "Healthy", "Degraded", "Progressing", "Unknown")
WORDS(check_operation_phase, "operation_phase", "Running", "Succeeded", "Failed")

int check_cron(Str s, Err *err)
{
    Cron c;
    return cron_parse(s, &c, err);
}

static bool has_control_or_blank(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
            return true;
    return false;
}

/* It becomes the value of an environment variable. */
int check_runner_type(Str s, Err *err)
{
    if (!has_control_or_blank(s) && !memchr(s.ptr ? s.ptr : "", '=', s.len))
        return 0;
    return err_set(err, ERR_INVALID, "runner_type must be one word");
}

/* These become arguments of git: nothing that it would take for an option. */
int check_repo_url(Str s, Err *err)
{
    if (s.len && s.ptr[0] != '-' && !has_control_or_blank(s))
        return 0;
    return err_set(err, ERR_INVALID, "source_repo_url must be the URL of a git repository");
}

int check_git_revision(Str s, Err *err)
{
    if (!s.len || (s.ptr[0] != '-' && !has_control_or_blank(s) && str_find(s, STR("..")) < 0))
        return 0;
    return err_set(err, ERR_INVALID, "source_target_revision must be a branch, a tag or a commit");
}

int check_source_path(Str s, Err *err)
{
    bool ok = s.len && s.ptr[0] != '/' && str_is_utf8(s);
    for (Str rest = s; ok && rest.ptr;)
        ok = !str_eq(str_cut(&rest, '/'), STR(".."));
    return ok ? 0 : err_set(err, ERR_INVALID, "source_path must be a path inside of the repository");
}

int check_http_url(Str s, Err *err)
{
    bool ok = str_starts(s, STR("https://")) || str_starts(s, STR("http://"));
    if (!s.len || (ok && !has_control_or_blank(s)))
        return 0;
    return err_set(err, ERR_INVALID, "destination_ambient_url must begin with https:// or http://");
}

int check_sync_options(Str s, Err *err)
{
    for (Str rest = s; s.len && rest.ptr;) {
        Str option = str_trim(str_cut(&rest, ','));
        if (!str_eqz(option, "CreateProject=true") && !str_eqz(option, "CreateProject=false"))
            return err_set(err, ERR_INVALID,
                           "invalid sync option \"" STR_FMT
                           "\"; known are: CreateProject=true, CreateProject=false",
                           STR_ARG(str_slice(option, 0, 64)));
    }
    return 0;
}
