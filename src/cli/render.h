/* Messages for a person. Everything that agents wrote is cleaned of terminal control before it is shown. */
#pragma once

#include "json/json.h"

typedef enum RenderEvent {
    RENDER_OTHER,
    RENDER_RUN_STARTED,
    RENDER_RUN_FINISHED,
    RENDER_RUN_FAILED
} RenderEvent;

typedef struct Render Render;
Render *render_new(void);
Render *render_free(Render *r);

/* One stored message as it comes; show false only tells what it was. Knows both the durable types (assistant,
   tool_use, lifecycle ...) and AG-UI's names. */
RenderEvent render_live(Render *r, const json_t *message, bool show);
/* Text that an agent is writing: pieces on one line, until the end or another message. */
void render_piece(Render *r, Str text);
void render_pieces_end(Render *r);
/* One stored message of a snapshot: a header line and the body, indented and wrapped. */
void render_stored(const json_t *message);
