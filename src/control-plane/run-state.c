#include "run-state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "json/json.h"

#define FILE_MAX (64 * 1024)

static int read_json(const char *dir, const char *name, json_t **ret, Err *err)
{
    CLEANUP_FREE char *path = path_join(dir, name);
    CLEANUP_BUF Buf b = BUF_INIT(FILE_MAX);
    int rc = file_read(path, &b, err);
    if (rc < 0)
        return rc;
    json_t *j = NULL;
    if (json_parse(buf_str(&b), &j, NULL) < 0 || !json_is_object(j)) {
        json_decref(j);
        return err_set(err, ERR_CORRUPT, "%s: not a JSON object", path);
    }
    *ret = j;
    return 0;
}

static int write_json(const char *dir, const char *name, const json_t *j, Err *err)
{
    CLEANUP_FREE char *path = path_join(dir, name);
    CLEANUP_BUF Buf b = BUF_INIT(FILE_MAX);
    json_write_plain(&b, j);
    buf_addc(&b, '\n');
    int rc = buf_check(&b, err);
    return rc < 0 ? rc : file_write_atomic(path, buf_str(&b), 0600, err);
}

static void copy_text(char *to, size_t size, const json_t *j, const char *key)
{
    const char *s = json_get_str(j, key);
    snprintf(to, size, "%s", s ? s : "");
}

int run_state_read(const char *dir, RunState *ret, Err *err)
{
    CLEANUP_JSON json_t *j = NULL;
    int rc = read_json(dir, RUN_STATE_FILE, &j, err);
    if (rc < 0)
        return rc;
    RunState s = {
        .run = json_get_int(j, "run", -1),
        .shim_pid = (pid_t)json_get_int(j, "shim_pid", -1),
        .shim_ticks = json_get_int(j, "shim_ticks", -1),
        .pid = (pid_t)json_get_int(j, "pid", -1),
        .pid_ticks = json_get_int(j, "start_ticks", -1),
        .port = json_get_int(j, "port", 0),
        .started_at = {json_get_int(j, "started_at", 0)},
    };
    copy_text(s.boot_id, sizeof(s.boot_id), j, "boot_id");
    copy_text(s.cookie, sizeof(s.cookie), j, "cookie");
    copy_text(s.agui_token, sizeof(s.agui_token), j, "agui_token");
    copy_text(s.cgroup, sizeof(s.cgroup), j, "cgroup");
    copy_text(s.sandbox, sizeof(s.sandbox), j, "sandbox");
    copy_text(s.cmd, sizeof(s.cmd), j, "cmd");
    if (s.run < 0 || s.shim_pid <= 0 || !*s.cookie)
        return err_set(err, ERR_CORRUPT, "%s/%s: not a runner's state", dir, RUN_STATE_FILE);
    *ret = s;
    return 0;
}

static void put_int(json_t *j, const char *key, int64_t v)
{
    json_object_set_new(j, key, json_integer(v));
}

static void put_text(json_t *j, const char *key, const char *v)
{
    json_object_set_new(j, key, json_strv(str_from(v)));
}

int run_state_write(const char *dir, const RunState *s, Err *err)
{
    CLEANUP_JSON json_t *j = json_object();
    char run_id[32];
    snprintf(run_id, sizeof(run_id), "%lld", (long long)s->run);
    put_int(j, "pid", s->pid);
    put_int(j, "start_ticks", s->pid_ticks);
    put_int(j, "pgid", s->pid);
    put_int(j, "port", s->port);
    put_text(j, "run_id", run_id);
    put_text(j, "cmd", s->cmd);
    put_int(j, "run", s->run);
    put_int(j, "shim_pid", s->shim_pid);
    put_int(j, "shim_ticks", s->shim_ticks);
    put_int(j, "started_at", s->started_at.us);
    put_text(j, "boot_id", s->boot_id);
    put_text(j, "cookie", s->cookie);
    put_text(j, "agui_token", s->agui_token);
    put_text(j, "cgroup", s->cgroup);
    put_text(j, "sandbox", s->sandbox);
    return write_json(dir, RUN_STATE_FILE, j, err);
}

int run_exit_read(const char *dir, RunExit *ret, Err *err)
{
    CLEANUP_JSON json_t *j = NULL;
    int rc = read_json(dir, RUN_EXIT_FILE, &j, err);
    if (rc < 0)
        return rc;
    int64_t signo = json_get_int(j, "signal", 0);
    RunExit e = {.run = json_get_int(j, "run", -1), .ended_at = {json_get_int(j, "ended_at", 0)}};
    if (json_get_bool(j, "oom", false))
        e.end = RT_END_OOM;
    else
        e.end = signo ? RT_END_SIGNAL : RT_END_EXIT;
    e.code = (int)(signo ? signo : json_get_int(j, "code", -1));
    if (e.run < 0 || e.code < 0)
        return err_set(err, ERR_CORRUPT, "%s/%s: not an exit status", dir, RUN_EXIT_FILE);
    *ret = e;
    return 0;
}

int run_exit_write(const char *dir, const RunExit *e, Err *err)
{
    CLEANUP_JSON json_t *j = json_object();
    put_int(j, "run", e->run);
    put_int(j, "code", e->end == RT_END_EXIT ? e->code : 128 + e->code);
    put_int(j, "signal", e->end == RT_END_EXIT ? 0 : e->code);
    json_object_set_new(j, "oom", json_boolean(e->end == RT_END_OOM));
    put_int(j, "ended_at", e->ended_at.us);
    return write_json(dir, RUN_EXIT_FILE, j, err);
}

RtStop run_stop_read(const char *dir)
{
    CLEANUP_FREE char *path = path_join(dir, RUN_STOP_FILE);
    CLEANUP_BUF Buf b = BUF_INIT(64);
    if (file_read(path, &b, NULL) < 0)
        return RT_STOP_NONE;
    return rt_stop_parse(str_trim(buf_str(&b)));
}

int run_stop_write(const char *dir, RtStop why, Err *err)
{
    CLEANUP_FREE char *path = path_join(dir, RUN_STOP_FILE);
    return file_write_atomic(path, str_from(rt_stop_name(why)), 0600, err);
}

int run_state_clear(const char *dir, Err *err)
{
    /* The state goes last: as long as it is there, the run is known to have been. */
    static const char *const names[] = {RUN_STOP_FILE, RUN_EXIT_FILE, RUN_STATE_FILE};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP_FREE char *path = path_join(dir, names[i]);
        if (unlink(path) < 0 && errno != ENOENT)
            return err_set_errno(err, errno, "%s", path);
    }
    return 0;
}

int run_state_open_shim(const RunState *s)
{
    char boot_id[BOOT_ID_MAX];
    proc_boot_id(boot_id);
    if (strcmp(boot_id, s->boot_id) != 0)
        return -1; /* numbers of another boot */
    return proc_open(s->shim_pid, s->shim_ticks);
}
