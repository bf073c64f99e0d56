#include "state.h"

#include "base/file.h"
#include "base/mem.h"
#include "json/json.h"

#define STATE_FILE "runner_state.json"
#define CONVERSATIONS_FILE "claude_session_ids.json"
#define FILE_MAX ((size_t)1 << 20)

/* An object; empty when there is no file or it cannot be read as one. */
static json_t *load(const char *dir, const char *name)
{
    CLEANUP_FREE char *path = path_join(dir, name);
    json_t *o = NULL;

    if (json_parse_file(path, FILE_MAX, &o, NULL) < 0 || !json_is_object(o)) {
        json_decref(o);
        return json_object();
    }
    return o;
}

static int save(const char *dir, const char *name, const json_t *o, Err *err)
{
    CLEANUP_FREE char *path = path_join(dir, name);
    CLEANUP_BUF Buf text = BUF_INIT(FILE_MAX);

    json_write_plain(&text, o);
    int r = buf_check(&text, err);
    return r < 0 ? r : file_write_atomic(path, buf_str(&text), 0600, err);
}

uint64_t state_load_handled(const char *dir, const char *session_id)
{
    CLEANUP_JSON json_t *o = load(dir, STATE_FILE);
    int64_t seq = json_get_int(o, "last_handled_seq", 0);

    if (!str_eqz(json_get_strv(o, "session_id"), session_id))
        return 0;
    return seq > 0 ? (uint64_t)seq : 0;
}

int state_save_handled(const char *dir, const char *session_id, uint64_t seq, Err *err)
{
    CLEANUP_JSON json_t *o = json_object();

    json_object_set_new(o, "session_id", json_string(session_id));
    json_object_set_new(o, "last_handled_seq", json_integer((json_int_t)seq));
    return save(dir, STATE_FILE, o, err);
}

char *state_load_conversation(const char *dir, const char *thread_id)
{
    CLEANUP_JSON json_t *o = load(dir, CONVERSATIONS_FILE);
    const char *id = json_get_str(o, thread_id);

    return id && *id ? xstrdup(id) : NULL;
}

int state_save_conversation(const char *dir, const char *thread_id, const char *conversation, Err *err)
{
    CLEANUP_JSON json_t *o = load(dir, CONVERSATIONS_FILE);

    if (conversation)
        json_object_set_new(o, thread_id, json_string(conversation));
    else
        json_object_del(o, thread_id);
    return save(dir, CONVERSATIONS_FILE, o, err);
}
