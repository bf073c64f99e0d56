/* What the files of the emitter share. */
#pragma once

#include "base/list.h"
#include "base/mem.h"
#include "emitter.h"
#include "uuid.h"

#define RECORD_TEXT_MAX ((size_t)3 << 20)         /* a record must fit a message of the API */
#define RESULT_CHARS 2000                         /* of a tool's result in the log */
#define SNAPSHOT_BYTES ((size_t)2 << 20)          /* memory for the messages of a run */
#define SNAPSHOT_RECORD_BYTES ((size_t)256 << 10) /* of text, in the record of what was said */

typedef struct OpenTool {
    ListLink link;
    char *id, *name;
    Buf args; /* already redacted */
    RedactStream redact;
    bool ready;
} OpenTool;

/* A text or reasoning message that is being written. */
typedef struct OpenText {
    char id[UUID_LEN + 1];
    bool open;
    bool cut; /* text is full, with a note at its end */
    Buf text; /* already redacted; what the log gets */
    RedactStream redact;
} OpenText;

struct Emitter {
    EmitterOps ops;
    void *arg;
    const Clock *clock;
    const RedactSet *redact;
    bool active;
    uint64_t seq;
    char *thread_id, *run_id;
    OpenText text, reasoning;
    List tools;
    json_t *messages; /* for MESSAGES_SNAPSHOT */
    size_t messages_bytes;
    Buf out; /* the event being written */
};

/* Ends what was begun with agui_begin(&e->out, ...) and hands it on. */
void emitter_send(Emitter *e, AguiWriter *w, AguiType type, Str key);
void emitter_ids(Emitter *e, AguiWriter *w); /* thread_id and run_id */

/* emitter-snapshot.c */
void snapshot_begin(Emitter *e, const RunInput *input);
void snapshot_text(Emitter *e, const char *id, const char *role, Str text);
void snapshot_tool_call(Emitter *e, const OpenTool *t);
void snapshot_tool_result(Emitter *e, Str id, Str name, Str content);
void snapshot_send(Emitter *e);
void snapshot_end(Emitter *e);

/* emitter-tools.c */
void tools_close_all(Emitter *e);
void tool_free(OpenTool *t);

/* emitter-records.c */
void record_text(Emitter *e, const char *event_type, Str text);
void record_tool_use(Emitter *e, const OpenTool *t);
void record_tool_result(Emitter *e, Str id, Str content, bool is_error);
void record_run(Emitter *e, const char *event, const json_t *result);
void record_snapshot(Emitter *e);
void record_error(Emitter *e, Str message, const char *code);
void record_custom(Emitter *e, const char *name, const json_t *value);
