#include "claude-cli.h"

#include <sys/stat.h>
#include <unistd.h>
#include "base/mem.h"

/* What the agent may do without a question; everything else is asked for and answered by the bridge. */
#define ALLOWED_TOOLS "Read,Write,Bash,Glob,Grep,Edit,MultiEdit,WebSearch,Skill,Agent"
/* Defaults of the session API: with these nobody asked for a limit. */
#define API_MAX_TOKENS 4000

static bool is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static char *find_on_path(const char *name)
{
    Str rest =
        str_from(getenv("PATH")); // NOLINT(concurrency-mt-unsafe): nobody changes the environment any more

    while (rest.ptr) {
        Str dir = str_cut(&rest, ':');
        if (dir.len == 0 || dir.ptr[0] != '/')
            continue; /* never a program from the directory that the agent works in */
        CLEANUP_FREE char *path = xasprintf(STR_FMT "/%s", STR_ARG(dir), name);
        if (is_program(path))
            return TAKE(path);
    }
    return NULL;
}

char *claude_find(const RunnerConfig *c)
{
    if (c->claude_path && *c->claude_path)
        return is_program(c->claude_path) ? xstrdup(c->claude_path) : NULL;
    return find_on_path("claude");
}

void claude_argv(const ClaudeStart *s, ClaudeArgv *ret)
{
    /* The repository in the workspace is not trusted: no settings of its own (they run hooks), no MCP servers
       of its own. Permission questions come to us, which also offers AskUserQuestion to the agent. */
    static const char *const fixed[] = {
        "--output-format",
        "stream-json",
        "--verbose",
        "--input-format",
        "stream-json",
        "--include-partial-messages",
        "--permission-mode",
        "acceptEdits",
        "--permission-prompt-tool",
        "stdio",
        "--allowedTools",
        ALLOWED_TOOLS,
        "--setting-sources=",
        "--strict-mcp-config",
    };
    size_t n = 0;

    *ret = (ClaudeArgv){0};
    ret->argv[n++] = s->path;
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        ret->argv[n++] = fixed[i];
    if (s->instructions && *s->instructions) {
        ret->argv[n++] = "--append-system-prompt";
        ret->argv[n++] = s->instructions;
    }
    if (s->model && *s->model) {
        ret->argv[n++] = "--model";
        ret->argv[n++] = s->model;
    }
    if (s->mcp_config) {
        ret->argv[n++] = "--mcp-config";
        ret->argv[n++] = s->mcp_config;
    }
    if (s->resume) {
        ret->owned = xasprintf("--resume=%s", s->resume);
        ret->argv[n++] = ret->owned;
    }
}

void claude_argv_done(ClaudeArgv *a)
{
    free(a->owned);
    *a = (ClaudeArgv){0};
}

void claude_env(const RunnerConfig *c, ChildEnv *ret)
{
    char tokens[24];

    child_env_init(ret, true);
    child_env_unset(ret, "CLAUDECODE"); /* set in a nested call it changes what the CLI does */
    child_env_set(ret, "CLAUDE_CODE_ENTRYPOINT", "sdk-py");
    child_env_set(ret, "PWD", config_agent_dir(c));
    child_env_default(ret, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
    child_env_default(ret, "DISABLE_AUTOUPDATER", "1");
    if (c->max_tokens > 0 && c->max_tokens != API_MAX_TOKENS) {
        snprintf(tokens, sizeof(tokens), "%lld", (long long)c->max_tokens);
        child_env_default(ret, "CLAUDE_CODE_MAX_OUTPUT_TOKENS", tokens);
    }
}

void claude_write_user(Buf *out, const char *text, const char *uuid)
{
    buf_addz(out, "{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":");
    json_write_str_plain(out, str_from(text));
    buf_addz(out, "},\"parent_tool_use_id\":null,\"session_id\":\"default\",\"uuid\":");
    json_write_str_plain(out, str_from(uuid));
    buf_addz(out, "}\n");
}

void claude_write_request(Buf *out, const char *request_id, const char *subtype)
{
    claude_write_request_with(out, request_id, subtype, NULL, NULL);
}

void claude_write_request_with(Buf *out, const char *request_id, const char *subtype, const char *key,
                               const char *value)
{
    buf_addz(out, "{\"type\":\"control_request\",\"request_id\":");
    json_write_str_plain(out, str_from(request_id));
    buf_addz(out, ",\"request\":{\"subtype\":");
    json_write_str_plain(out, str_from(subtype));
    if (str_eqz(STR("initialize"), subtype))
        buf_addz(out, ",\"hooks\":null");
    if (key) {
        buf_addf(out, ",\"%s\":", key);
        json_write_str_plain(out, str_from(value));
    }
    buf_addz(out, "}}\n");
}

void claude_write_answer(Buf *out, const char *request_id, const json_t *response)
{
    buf_addz(out, "{\"type\":\"control_response\",\"response\":{\"subtype\":\"success\",\"request_id\":");
    json_write_str_plain(out, str_from(request_id));
    buf_addz(out, ",\"response\":");
    json_write_plain(out, response);
    buf_addz(out, "}}\n");
}

void claude_write_refusal(Buf *out, const char *request_id, const char *error)
{
    buf_addz(out, "{\"type\":\"control_response\",\"response\":{\"subtype\":\"error\",\"request_id\":");
    json_write_str_plain(out, str_from(request_id));
    buf_addz(out, ",\"error\":");
    json_write_str_plain(out, str_from(error));
    buf_addz(out, "}}\n");
}
