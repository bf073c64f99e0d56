/*
 * The message is a command: /bin/sh -c in the workspace, no model. Standard output and error stream as one
 * text, lines of standard error marked. A command that fails fails its run: RUN_ERROR with code exit_<n> or
 * signal_<n>.
 */
#include <sys/wait.h>
#include "base/file.h"
#include "base/mem.h"
#include "bridge.h"
#include "child-env.h"
#include "proc.h"
#include "utf8.h"
#include "wall.h"

#define OUTPUT_MAX ((size_t)1 << 20) /* of one command; the rest is read and dropped */
#define MARK STR("[stderr] ")
#define TERM_PATIENCE (2 * USEC_PER_SEC)

/* One of the two output streams. */
typedef struct Stream {
    Utf8Repair repair;
    bool marked;
} Stream;

typedef struct Shell {
    Bridge base;
    Proc *proc; /* NULL = no command runs */
    Timer *patience;
    Stream out, err;
    const Stream *last; /* the stream that wrote last */
    bool line_start;
    size_t shown;   /* bytes of output handed on */
    size_t dropped; /* and not */
    bool interrupted, stopping;
} Shell;

static int shell_create(const BridgeHost *host, Bridge **ret, Err *err);
static void on_patience(void *arg);

/* ---- output ---- */

static void emit_line_part(Shell *s, const Stream *from, Str part, Buf *out)
{
    if (s->last != from && !s->line_start) {
        buf_addc(out, '\n'); /* the other stream stopped in the middle of a line */
        s->line_start = true;
    }
    if (s->line_start && from->marked)
        buf_adds(out, MARK);
    buf_adds(out, part);
    s->last = from;
    s->line_start = part.ptr[part.len - 1] == '\n';
}

static void show(Shell *s, const Stream *from, Str text)
{
    CLEANUP_BUF Buf out = BUF_INIT(OUTPUT_MAX * 16);
    size_t room = s->shown < OUTPUT_MAX ? OUTPUT_MAX - s->shown : 0;
    size_t take = utf8_cut(text, room);

    s->shown += take;
    s->dropped += text.len - take;
    if (s->dropped > 0)
        s->shown = OUTPUT_MAX; /* no later piece is shown behind a hole */
    text = str_slice(text, 0, take);
    while (text.len > 0) {
        ptrdiff_t at = str_find_byte(text, '\n');
        size_t n = at < 0 ? text.len : (size_t)at + 1;
        emit_line_part(s, from, str_slice(text, 0, n), &out);
        text = str_slice(text, n, text.len);
    }
    emit_text(s->base.host.emitter, buf_str(&out));
}

static void on_bytes(Shell *s, Stream *from, Str bytes)
{
    CLEANUP_BUF Buf clean = BUF_INIT(bytes.len * 3 + 16);

    utf8_repair(&from->repair, bytes, &clean);
    show(s, from, buf_str(&clean));
}

static void on_out(void *arg, Str bytes)
{
    Shell *s = arg;
    on_bytes(s, &s->out, bytes);
}

static void on_err(void *arg, Str bytes)
{
    Shell *s = arg;
    on_bytes(s, &s->err, bytes);
}

static void flush(Shell *s)
{
    CLEANUP_BUF Buf rest = BUF_INIT(64);

    utf8_repair_end(&s->out.repair, &rest);
    show(s, &s->out, buf_str(&rest));
    buf_clear(&rest);
    utf8_repair_end(&s->err.repair, &rest);
    show(s, &s->err, buf_str(&rest));
    if (s->dropped == 0)
        return;
    buf_clear(&rest);
    buf_init(&rest, 256);
    buf_addf(&rest, "%s... output truncated: %zu more bytes\n", s->line_start ? "" : "\n", s->dropped);
    emit_text(s->base.host.emitter, buf_str(&rest));
}

/* ---- turn ---- */

static void end_turn(Shell *s, int status)
{
    char text[64], code[32];
    CLEANUP_JSON json_t *result = s->interrupted ? turn_result_interrupted() : json_object();

    flush(s);
    emit_text_end(s->base.host.emitter);
    s->proc = proc_free(s->proc);
    timer_cancel(s->patience);
    if (!s->interrupted)
        json_object_set_new(result, "exit_status",
                            json_integer(WIFEXITED(status) ? WEXITSTATUS(status) : -1));
    if (s->interrupted || status == 0) {
        s->base.host.on_turn_end(s->base.host.arg, &(TurnEnd){.result = result});
    } else {
        CLEANUP_FREE char *message = NULL;
        proc_status_text(status, text);
        proc_status_code(status, code);
        message = xasprintf("the command ended with %s", text);
        s->base.host.on_turn_end(s->base.host.arg, &(TurnEnd){.error = message, .code = code});
    }
    if (s->stopping)
        s->base.host.on_stopped(s->base.host.arg);
}

static void on_exit_status(void *arg, int status)
{
    end_turn(arg, status);
}

static void shell_send(Bridge *b, const char *text)
{
    Shell *s = CONTAINER_OF(b, Shell, base);
    const char *argv[] = {"/bin/sh", "-c", text, NULL};
    static const ProcOps ops = {on_out, on_err, on_exit_status};
    ChildEnv env;
    Err err = {0};

    s->out = (Stream){0};
    s->err = (Stream){.marked = true};
    s->last = NULL;
    s->line_start = true;
    s->shown = s->dropped = 0;
    s->interrupted = false;
    child_env_init(&env, false);
    b->host.credentials(b->host.arg, &env);
    CLEANUP_FD int wall = wall_prepare(b->host.config);
    ProcSpec spec = {.argv = argv,
                     .envp = (const char *const *)env.vars,
                     .cwd = config_agent_dir(b->host.config),
                     .wall_fd = wall};
    int r = proc_start(b->host.loop, &spec, &ops, s, &s->proc, &err);
    child_env_done(&env);
    if (r < 0)
        b->host.on_turn_end(b->host.arg, &(TurnEnd){.error = err.msg, .code = "start_failed"});
}

static void on_patience(void *arg)
{
    Shell *s = arg;

    if (s->proc)
        proc_signal(s->proc, SIGKILL);
    else if (s->stopping)
        s->base.host.on_stopped(s->base.host.arg);
}

static void shell_interrupt(Bridge *b)
{
    Shell *s = CONTAINER_OF(b, Shell, base);

    if (!s->proc)
        return;
    proc_signal(s->proc, s->interrupted ? SIGKILL : SIGTERM);
    s->interrupted = true;
    if (!timer_armed(s->patience))
        timer_arm(s->patience, TERM_PATIENCE);
}

static void shell_stop(Bridge *b)
{
    Shell *s = CONTAINER_OF(b, Shell, base);

    s->stopping = true;
    if (s->proc)
        shell_interrupt(b);
    else
        timer_arm(s->patience, 0);
}

static void shell_hold(Bridge *b, bool hold)
{
    Shell *s = CONTAINER_OF(b, Shell, base);

    if (s->proc)
        proc_hold(s->proc, hold);
}

static bool shell_busy(const Bridge *b)
{
    return false;
}

static void shell_destroy(Bridge *b)
{
    Shell *s = CONTAINER_OF(b, Shell, base);

    proc_free(s->proc);
    timer_free(s->patience);
    free(s);
}

const BridgeOps bridge_shell = {
    .name = "shell",
    .framework = "shell",
    .retry_safe = false, /* a command that was begun may have done half of its work */
    .session_persistence = false,
    .create = shell_create,
    .send = shell_send,
    .interrupt = shell_interrupt,
    .stop = shell_stop,
    .hold = shell_hold,
    .busy = shell_busy,
    .destroy = shell_destroy,
};

static int shell_create(const BridgeHost *host, Bridge **ret, Err *err)
{
    Shell *s = xnew(Shell);

    s->base = (Bridge){&bridge_shell, *host};
    s->patience = timer_new(host->loop, on_patience, s);
    *ret = &s->base;
    return 0;
}
