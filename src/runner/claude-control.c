/*
 * Control requests of the Claude Code CLI: may this tool be used, and questions of the agent to the user. A
 * question ends the run; the request stays open until the user's next message, which is the answer.
 */
#include "base/mem.h"
#include "claude-internal.h"

static void answer(Claude *c, const char *request_id, const json_t *response)
{
    CLEANUP_BUF Buf line = BUF_INIT(CLAUDE_LINE_MAX);

    claude_write_answer(&line, request_id, response);
    proc_write(c->proc, buf_str(&line));
}

void claude_drop_question(Claude *c)
{
    free(c->question);
    free(c->question_tool);
    json_decref(c->question_input);
    c->question = c->question_tool = NULL;
    c->question_input = NULL;
}

static void deny(Claude *c, const char *request_id, const char *message)
{
    CLEANUP_JSON json_t *r = json_object();

    json_object_set_new(r, "behavior", json_string("deny"));
    json_object_set_new(r, "message", json_string(message));
    answer(c, request_id, r);
}

static void allow(Claude *c, const char *request_id, json_t *input)
{
    CLEANUP_JSON json_t *r = json_object();

    json_object_set_new(r, "behavior", json_string("allow"));
    json_object_set(r, "updatedInput", input);
    answer(c, request_id, r);
}

/* The question waits for the user's next message; until then the run is over. */
static void ask_user(Claude *c, const char *request_id, const json_t *r)
{
    CLEANUP_JSON json_t *result = json_object();
    Str tool = json_get_strv(r, "tool_use_id");

    claude_drop_question(c);
    c->question = xstrdup(request_id);
    c->question_tool = str_dup(tool);
    c->question_input = json_incref(json_object_get(r, "input"));
    json_t *action = json_object();
    json_object_set_new(action, "tool_call_id", json_strv(tool));
    json_object_set_new(action, "tool", json_string("AskUserQuestion"));
    json_object_set(action, "input", c->question_input);
    json_object_set_new(result, "requires_action", action);
    claude_move(c, CLI_ASKING);
    emit_tool_halt(c->base.host.emitter, tool);
    claude_end_turn(c, &(TurnEnd){.result = result});
}

static void on_can_use_tool(Claude *c, const char *request_id, const json_t *r)
{
    const BridgeHost *h = &c->base.host;
    Str tool = json_get_strv(r, "tool_name");
    json_t *input = json_object_get(r, "input");
    CLEANUP_FREE char *notice = NULL;

    if (str_eqz(tool, "AskUserQuestion")) {
        if ((c->state == CLI_TURN || c->state == CLI_SELF) && h->interactive(h->arg))
            ask_user(c, request_id, r);
        else
            deny(c, request_id, "No user is there to answer. Decide by yourself and say what you assumed.");
        return;
    }
    bool mcp = str_starts(tool, STR("mcp__")); /* only servers that the platform configured are there */
    if (mcp || str_eqz(tool, "ExitPlanMode") || str_eqz(tool, "EnterPlanMode")) {
        allow(c, request_id, input);
        return;
    }
    notice = xasprintf("The agent asked to use " STR_FMT " and was not permitted to.", STR_ARG(tool));
    emit_notice(h->emitter, notice);
    deny(c, request_id, "This is not permitted in this session.");
}

void claude_on_request(Claude *c, const ClaudeLine *l)
{
    const char *id = json_get_str(l->json, "request_id");
    const json_t *r = json_get_obj(l->json, "request");
    CLEANUP_BUF Buf line = BUF_INIT(4096);

    if (!id)
        return;
    if (str_eqz(json_get_strv(r, "subtype"), "can_use_tool")) {
        on_can_use_tool(c, id, r);
        return;
    }
    claude_write_refusal(&line, id, "not supported by this runner");
    proc_write(c->proc, buf_str(&line));
}

void claude_on_cancel(Claude *c, const ClaudeLine *l)
{
    if (!c->question || !str_eqz(json_get_strv(l->json, "request_id"), c->question))
        return;
    claude_drop_question(c);
    if (c->state == CLI_ASKING)
        claude_move(c, CLI_IDLE); /* what comes now is a turn of its own */
}

/* Answers an open question with the user's words, whichever of its choices they are. */
void claude_answer_question(Claude *c)
{
    CLEANUP_JSON json_t *input = json_deep_copy(c->question_input);
    json_t *answers = json_object();
    const json_t *q;
    size_t i;

    json_array_foreach(json_get_arr(input, "questions"), i, q)
    {
        const char *question = json_get_str(q, "question");
        if (question)
            json_object_set_new(answers, question, json_string(c->text));
    }
    if (json_is_object(input))
        json_object_set(input, "answers", answers);
    json_decref(answers);
    emit_tool_result(c->base.host.emitter, str_from(c->question_tool), str_from(c->text), false);
    free(c->events.answered);
    c->events.answered = xstrdup(c->question_tool);
    claude_move(c, CLI_TURN);
    c->heard = true;
    allow(c, c->question, input);
    claude_drop_question(c);
}
