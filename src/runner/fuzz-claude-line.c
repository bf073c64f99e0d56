/* Standard output of the Claude Code CLI: any bytes become events in order, or nothing. */
#include <stdlib.h>
#include "claude-events.h"
#include "line-reader.h"

typedef struct Target {
    Emitter *emitter;
    ClaudeEvents events;
    bool run;
} Target;

/* The rules that readers depend on most; the unit tests judge the rest. */
static void on_event(void *arg, const AguiEvent *ev)
{
    Target *t = arg;
    json_t *o = NULL;

    if (json_parse(ev->json, &o, NULL) < 0 || ev->json.len >= AGUI_EVENT_MAX)
        abort();
    json_decref(o);
    if (!t->run && ev->type != AGUI_RUN_STARTED)
        abort();
    t->run = ev->type != AGUI_RUN_FINISHED && ev->type != AGUI_RUN_ERROR;
}

static void on_record(void *arg, const char *event_type, Str payload)
{
    if (!str_is_utf8(payload) || payload.len > 4194304 - 1024)
        abort();
}

static void on_line(void *arg, Str text)
{
    Target *t = arg;
    ClaudeLine l;

    claude_line_parse(text, &l);
    claude_events_line(&t->events, &l);
    if (l.type == CLAUDE_RESULT) {
        json_t *result = claude_run_result(&l);
        claude_events_turn_end(&t->events, false);
        emit_run_finished(t->emitter, result);
        json_decref(result);
    } else if (l.type == CLAUDE_INIT && !t->run) {
        emit_run_started(t->emitter, &(EmitRun){.thread_id = "t", .run_id = "r"});
    }
    claude_line_done(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const EmitterOps ops = {on_event, on_record};
    Target t = {0};
    LineReader lines;
    FakeClock clock;

    fake_clock_init(&clock, (WallUsec){0});
    line_reader_init(&lines, 1 << 20);
    t.emitter = emitter_new(&ops, &t, &clock.clock, NULL);
    claude_events_init(&t.events, t.emitter);
    emit_run_started(t.emitter, &(EmitRun){.thread_id = "t", .run_id = "r"});
    /* In two pieces, cut where the first byte says. */
    size_t cut = size > 0 ? data[0] % (size + 1) : 0;
    line_reader_feed(&lines, (Str){(const char *)data, cut}, on_line, &t);
    line_reader_feed(&lines, (Str){(const char *)data + cut, size - cut}, on_line, &t);
    line_reader_end(&lines, on_line, &t);
    claude_events_done(&t.events);
    emitter_free(t.emitter);
    line_reader_done(&lines);
    return 0;
}
