/* Messages become turns, strictly one after the other, each begun at most once. */
#include "runner-internal.h"

#include "base/clock.h"
#include "state.h"
#include "uuid.h"
#include "workflow.h"

static void turn_free(Turn *t)
{
    list_remove(&t->link);
    run_input_done(&t->input);
    free(t);
}

void turns_free_queue(Runner *r)
{
    while (!list_empty(&r->queue))
        turn_free(LIST_ENTRY(r->queue.next, Turn, link));
}

static size_t queue_length(const Runner *r)
{
    size_t n = 0;

    LIST_FOREACH (&r->queue, l)
        n++;
    return n;
}

/* Takes the input over. */
static void enqueue(Runner *r, uint64_t seq, RunInput *in)
{
    Turn *t = xnew(Turn);

    t->seq = seq;
    t->input = *in;
    *in = (RunInput){0};
    list_push_back(&r->queue, &t->link);
    r->worked = true;
    if (emitter_active(r->emitter)) {
        CLEANUP_JSON json_t *value = json_object();
        json_object_set_new(value, "depth", json_integer((json_int_t)queue_length(r)));
        emit_custom(r->emitter, "ambient:queue", value, false);
    }
    timer_arm(r->kick, 0);
}

void runner_enqueue(Runner *r, RunInput *in)
{
    enqueue(r, 0, in);
}

static void enqueue_payload(Runner *r, uint64_t seq, Str payload)
{
    RunInput in = {0};

    run_input_from_payload(payload, &in);
    enqueue(r, seq, &in);
}

/* ---- the log ---- */

static void remember(Runner *r, const ClientMessage *m)
{
    RunInput in = {0};

    if (str_eqz(m->event_type, "assistant")) {
        transcript_add(&r->transcript, m->seq, "Assistant", m->payload);
    } else if (str_eqz(m->event_type, "user")) {
        run_input_from_payload(m->payload, &in);
        transcript_add(&r->transcript, m->seq, "User", str_from(in.text));
        run_input_done(&in);
    }
}

void turns_log_message(Runner *r, const ClientMessage *m)
{
    r->seen_seq = m->seq;
    remember(r, m);
    if (r->state == R_READING) {
        scan_message(&r->scan, m->seq, m->event_type, m->payload);
        if (r->barrier_seq && m->seq >= r->barrier_seq)
            turns_log_read(r);
    } else if (r->state == R_READY && str_eqz(m->event_type, "user") && str_trim(m->payload).len > 0) {
        enqueue_payload(r, m->seq, m->payload);
    }
}

static void record_left_alone(Runner *r, uint64_t seq, const char *event)
{
    char text[96];

    snprintf(text, sizeof(text), "{\"event\":\"%s\",\"seq\":%llu}", event, (unsigned long long)seq);
    runner_record(r, "lifecycle", str_from(text));
}

/* An earlier runner died in the middle of this message. */
static void resolve_interrupted(Runner *r, const ScanEntry *e)
{
    if (r->bridge_ops->retry_safe && !e->tool_used && e->starts < STARTS_MAX) {
        log_info("a turn that was interrupted is run again", F_UINT("seq", e->seq));
        enqueue_payload(r, e->seq, str_from(e->payload));
        return;
    }
    emit_notice(r->emitter,
                "The runner was restarted while it worked on the last message. The message is not run "
                "again, as part of its work may be done; send another one to go on.");
    record_left_alone(r, e->seq, "run_interrupted");
    r->worked = true;
    r->failed = true;
}

/* Parts of INITIAL_PROMPT that the first stored message does not have are standing instructions. */
static void find_instructions(Runner *r)
{
    Str prompt = str_trim(str_from(r->config->initial_prompt));
    RunInput in = {0};

    if (prompt.len == 0 || !r->scan.first_user)
        return;
    run_input_from_payload(str_from(r->scan.first_user), &in);
    Str first = str_trim(str_from(in.text));
    if (str_ends(prompt, first))
        prompt = str_trim(str_slice(prompt, 0, prompt.len - first.len));
    else if (str_find(first, prompt) >= 0)
        prompt = STR("");
    if (prompt.len > 0)
        r->instructions = str_dup(prompt);
    run_input_done(&in);
}

/* A session whose prompt nobody stored: it is run, once in the session's life. */
static void enqueue_initial_prompt(Runner *r)
{
    Str prompt = str_trim(str_from(r->config->initial_prompt));

    if (prompt.len > 0 && r->scan.users == 0 && r->scan.runs == 0)
        enqueue_payload(r, 0, prompt);
}

void turns_log_read(Runner *r)
{
    const RunnerConfig *c = r->config;
    uint64_t handled = state_load_handled(c->state_dir, c->session_id);
    ScanEntry *e;

    runner_move(r, R_READY);
    r->one_shot =
        c->mode == MODE_ONE_SHOT ||
        (c->mode == MODE_AUTO && (r->scan.users > 0 || str_trim(str_from(c->initial_prompt)).len > 0));
    r->worked = r->scan.users > 0;
    find_instructions(r);
    scan_finish(&r->scan, handled, c->resume_after_seq > 0 ? (uint64_t)c->resume_after_seq : 0);
    while ((e = scan_pop(&r->scan))) {
        if (e->starts > 0)
            resolve_interrupted(r, e);
        else
            enqueue_payload(r, e->seq, str_from(e->payload));
        scan_entry_free(e);
    }
    enqueue_initial_prompt(r);
    log_info("the session's log is read", F_UINT("messages", r->seen_seq), F_UINT("waiting", queue_length(r)),
             F_BOOL("one_shot", r->one_shot));
    timer_arm(r->kick, 0);
}

/* ---- turns ---- */

static void begin_run(Runner *r, const Turn *t)
{
    ksuid_new(r->turn, clock_wall(loop_clock(r->loop)));
    r->current_seq = t->seq;
    r->current_first = t->first;
    EmitRun run = {.thread_id = r->config->session_id, .seq = t->seq, .input = &t->input};
    emit_run_started(r->emitter, &run);
}

/* From here on the message counts as begun, whatever happens to this process. */
static int mark_begun(Runner *r, const Turn *t, Err *err)
{
    if (t->seq == 0)
        return 0;
    return state_save_handled(r->config->state_dir, r->config->session_id, t->seq, err);
}

/* Behind what the agent has to know first. For a shell the text is a command: nothing is put in front of it.
 */
static char *text_of(Runner *r, const Turn *t)
{
    if (!r->note || r->bridge_ops == &bridge_shell || str_trim(str_from(t->input.text)).len == 0)
        return xstrdup(t->input.text);
    CLEANUP_FREE char *note = TAKE(r->note);
    return xasprintf("<note_of_the_platform>\n%s\n</note_of_the_platform>\n\n%s", note, t->input.text);
}

static void begin_turn(Runner *r, Turn *t)
{
    Err err = {0};
    CLEANUP_FREE char *text = text_of(r, t);
    int marked = mark_begun(r, t, &err);

    timer_cancel(r->idle);
    begin_run(r, t);
    turn_free(t);
    if (marked < 0) {
        CLEANUP_FREE char *message =
            xasprintf("the message is not run, as that could not be written down first: %s", err.msg);
        turns_end(r, &(TurnEnd){.error = message, .code = "state_not_saved"});
    } else if (str_trim(str_from(text)).len == 0) {
        turns_end(r, &(TurnEnd){0}); /* an input without text: a run that does nothing */
    } else {
        r->bridge_ops->send(r->bridge, text);
        r->bridge_ops->hold(r->bridge, r->pressure);
    }
}

/* Nothing runs and nothing waits. */
static void on_nothing_to_do(Runner *r)
{
    if (r->bridge_ops->busy(r->bridge))
        return; /* its end begins a turn by itself */
    if (r->one_shot && r->worked)
        runner_stop(r, r->failed ? EXIT_AGENT_ERROR : EXIT_OK);
    else if (r->config->idle != USEC_NEVER && !timer_armed(r->idle))
        timer_arm(r->idle, r->config->idle);
}

/* A workflow may have something to say to the agent before anybody else, once in the session's life. A shell
   would run it as a command. */
static void enqueue_greeting(Runner *r)
{
    CLEANUP_JSON json_t *workflow = workflow_config(r->repos, r->workspace);
    Str text = str_trim(json_get_strv(workflow, "startupPrompt"));

    r->greeted = true;
    if (!text.len || r->config->is_resume || r->scan.runs > 0 || r->bridge_ops == &bridge_shell)
        return;
    enqueue_payload(r, 0, text);
    Turn *t = LIST_ENTRY(r->queue.prev, Turn, link);
    t->first = true;
    list_remove(&t->link);
    list_push_front(&r->queue, &t->link);
}

void turns_kick(void *arg)
{
    Runner *r = arg;

    if (r->state != R_READY || emitter_active(r->emitter) || !r->settled)
        return;
    if (!r->greeted)
        enqueue_greeting(r);
    if (list_empty(&r->queue))
        on_nothing_to_do(r);
    else if (runner_credentials_ready(r->credentials) &&
             mcp_wait_over(r->mcp_wait)) /* else they kick again */
        begin_turn(r, LIST_ENTRY(r->queue.next, Turn, link));
}

void turns_end(void *arg, const TurnEnd *end)
{
    Runner *r = arg;

    r->failed = end->error != NULL;
    if (end->error)
        emit_run_error(r->emitter, end->error, end->code);
    else
        emit_run_finished(r->emitter, end->result);
    log_info("turn ended", F_STR("turn", r->turn), F_UINT("seq", r->current_seq), F_BOOL("failed", r->failed),
             F_STR("code", end->error ? end->code : ""));
    r->turn[0] = '\0';
    r->current_seq = 0;
    timer_arm(r->kick, 0);
}

void turns_self(void *arg)
{
    Runner *r = arg;
    char id[UUID_LEN + 1];
    CLEANUP_FREE char *parent = xstrdup(emitter_run_id(r->emitter));

    uuid_new(id);
    ksuid_new(r->turn, clock_wall(loop_clock(r->loop)));
    timer_cancel(r->idle);
    EmitRun run = {
        .thread_id = r->config->session_id, .run_id = id, .parent_run_id = *parent ? parent : NULL};
    emit_run_started(r->emitter, &run);
}

void turns_drop_queued(Runner *r)
{
    Err err = {0};

    while (!list_empty(&r->queue)) {
        Turn *t = LIST_ENTRY(r->queue.next, Turn, link);
        if (mark_begun(r, t, &err) < 0)
            log_warn("a dropped message may be run after a restart", F_UINT("seq", t->seq), F_ERR(&err));
        if (t->seq > 0)
            record_left_alone(r, t->seq, "run_cancelled");
        turn_free(t);
    }
}
