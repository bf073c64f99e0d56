/* The cached part of a session's log. One budget for all sessions; the least recently used chunks go first.
 */
#include "hub-internal.h"

#include "base/mem.h"

static size_t message_bytes(const Message *m)
{
    return sizeof(*m) + m->payload.len + m->event_type.len + m->session_id.len + m->actor.len + m->turn.len;
}

SessionLog *session_log_get(Hub *h, Str id)
{
    SessionLog *l = map_get(h->logs, id);
    if (l)
        return l;
    l = xcalloc(1, sizeof(*l) + id.len + 1);
    char *copy = (char *)(l + 1);
    memcpy(copy, id.ptr, id.len);
    l->hub = h;
    l->id = (Str){copy, id.len};
    list_init(&l->idle);
    list_init(&l->waiting);
    list_init(&l->behind);
    list_init(&l->read_link);
    map_put(h->logs, id, l);
    return l;
}

void session_log_release(SessionLog *l)
{
    if (l->n_cursors || l->reading)
        return;
    session_log_drop_chunks(l);
    list_remove(&l->read_link);
    map_remove(l->hub->logs, l->id);
    vec_free(&l->chunks);
    obj_free(l->place);
    free(l);
}

/* ---- chunks ---- */

/* Where the chunk is, or where it would have to be. */
static size_t chunk_index(const SessionLog *l, uint64_t number)
{
    size_t lo = 0;
    size_t hi = l->chunks.len;
    /* The newest rows are what most ask for. */
    if (hi && l->chunks.ptr[hi - 1]->number <= number)
        return l->chunks.ptr[hi - 1]->number == number ? hi - 1 : hi;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (l->chunks.ptr[mid]->number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static Chunk *chunk_find(const SessionLog *l, uint64_t number)
{
    size_t i = chunk_index(l, number);
    return i < l->chunks.len && l->chunks.ptr[i]->number == number ? l->chunks.ptr[i] : NULL;
}

static void chunk_account(Chunk *c, size_t bytes)
{
    c->bytes += bytes;
    c->log->hub->tail_bytes += bytes;
}

static void chunk_touch(Chunk *c)
{
    list_remove(&c->lru);
    list_push_back(&c->log->hub->lru, &c->lru);
}

static Chunk *chunk_make(SessionLog *l, uint64_t number)
{
    size_t i = chunk_index(l, number);
    Chunk *c = xnew(Chunk);
    c->log = l;
    c->number = number;
    list_init(&c->lru);
    vec_push(&l->chunks, NULL);
    memmove(&l->chunks.ptr[i + 1], &l->chunks.ptr[i], (l->chunks.len - 1 - i) * sizeof(Chunk *));
    l->chunks.ptr[i] = c;
    chunk_account(c, sizeof(*c));
    return c;
}

static void chunk_free(Chunk *c)
{
    for (size_t i = 0; i < CHUNK_ROWS; i++) {
        message_unref(c->rows[i].m);
        for (size_t e = 0; e < _HUB_ENCODING_MAX; e++)
            grpc_frame_unref(c->rows[i].frames[e]);
    }
    c->log->hub->tail_bytes -= c->bytes;
    list_remove(&c->lru);
    free(c);
}

static void chunk_evict(Chunk *c)
{
    SessionLog *l = c->log;
    size_t i = chunk_index(l, c->number);
    l->chunks.len--;
    memmove(&l->chunks.ptr[i], &l->chunks.ptr[i + 1], (l->chunks.len - i) * sizeof(Chunk *));
    chunk_free(c);
}

/* The chunk that was used last stays: somebody is at it. */
static void evict(Hub *h)
{
    while (h->tail_bytes > h->tail_max && h->lru.next != h->lru.prev)
        chunk_evict(LIST_ENTRY(h->lru.next, Chunk, lru));
}

void session_log_drop_chunks(SessionLog *l)
{
    VEC_FOREACH (&l->chunks, c)
        chunk_free(*c);
    vec_clear(&l->chunks);
}

/* ---- rows ---- */

void session_log_put(SessionLog *l, uint64_t prev, Message *m)
{
    Chunk *c = chunk_find(l, prev / CHUNK_ROWS);
    if (!c)
        c = chunk_make(l, prev / CHUNK_ROWS);
    chunk_touch(c);
    Entry *e = &c->rows[prev % CHUNK_ROWS];
    if (e->m)
        return;
    e->m = message_ref(m);
    chunk_account(c, message_bytes(m));
    evict(l->hub);
}

bool session_log_has(SessionLog *l, uint64_t prev)
{
    Chunk *c = chunk_find(l, prev / CHUNK_ROWS);
    return c && c->rows[prev % CHUNK_ROWS].m;
}

GrpcFrame *session_log_frame(SessionLog *l, uint64_t prev, HubEncoding enc, uint64_t *ret_seq)
{
    Chunk *c = chunk_find(l, prev / CHUNK_ROWS);
    Entry *e = c ? &c->rows[prev % CHUNK_ROWS] : NULL;
    if (!e || !e->m)
        return NULL;
    chunk_touch(c);
    if (!e->frames[enc]) {
        e->frames[enc] = encode_message(e->m, enc);
        chunk_account(c, grpc_frame_bytes(e->frames[enc]).len);
        evict(l->hub);
    }
    *ret_seq = e->m->seq;
    return grpc_frame_ref(e->frames[enc]);
}
