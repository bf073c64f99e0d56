/* Messages as values, and what their hash covers. */
#include <stdatomic.h>
#include "store-internal.h"

typedef struct MessageBox {
    atomic_uint refs;
    Message m;
    char text[];
} MessageBox;

static MessageBox *box_of(Message *m)
{
    return CONTAINER_OF(m, MessageBox, m);
}

Message *message_ref(Message *m)
{
    atomic_fetch_add_explicit(&box_of(m)->refs, 1, memory_order_relaxed);
    return m;
}

Message *message_unref(Message *m)
{
    if (m && atomic_fetch_sub_explicit(&box_of(m)->refs, 1, memory_order_acq_rel) == 1)
        free(box_of(m));
    return NULL;
}

static Str put(char **at, Str s)
{
    Str copy = {*at, s.len};
    if (s.len)
        memcpy(*at, s.ptr, s.len);
    (*at)[s.len] = '\0';
    *at += s.len + 1;
    return copy;
}

int message_new(const MessageParts *p, Message **ret, Err *err)
{
    size_t size = p->session_id.len + p->event_type.len + p->payload.len + p->actor.len + p->turn.len + 5;
    MessageBox *box = try_malloc(sizeof(*box) + size);
    if (!box)
        return err_set(err, ERR_UNAVAILABLE, "out of memory");
    atomic_init(&box->refs, 1);
    Message *m = &box->m;
    char *at = box->text;
    *m = (Message){.seq = p->seq, .created_at = p->created_at};
    memcpy(m->id, p->id.ptr, p->id.len < KSUID_LEN ? p->id.len : KSUID_LEN);
    m->session_id = put(&at, p->session_id);
    m->event_type = put(&at, p->event_type);
    m->payload = put(&at, p->payload);
    m->actor = put(&at, p->actor);
    m->turn = put(&at, p->turn);
    *ret = m;
    return 0;
}

MessageParts message_parts(const Message *m)
{
    return (MessageParts){
        .id = str_from(m->id),
        .session_id = m->session_id,
        .event_type = m->event_type,
        .payload = m->payload,
        .actor = m->actor,
        .turn = m->turn,
        .seq = m->seq,
        .created_at = m->created_at,
    };
}

static void add_u64(Sha256 *h, uint64_t v)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(v >> (56 - 8 * i));
    sha256_add(h, bytes, sizeof(bytes));
}

/* With its length, so that no two rows give the same bytes. */
static void add_str(Sha256 *h, Str s)
{
    add_u64(h, s.len);
    sha256_add(h, s.ptr, s.len);
}

void message_hash_seed(Sha256 *h, Str session_id, uint8_t out[static SHA256_LEN])
{
    add_str(h, session_id);
    sha256_final(h, out);
}

void message_hash(Sha256 *h, const uint8_t prev[static SHA256_LEN], const MessageParts *p,
                  uint8_t out[static SHA256_LEN])
{
    sha256_add(h, prev, SHA256_LEN);
    add_str(h, p->id);
    add_u64(h, p->seq);
    add_str(h, p->event_type);
    add_str(h, p->payload);
    add_u64(h, (uint64_t)p->created_at.us);
    add_str(h, p->actor);
    add_str(h, p->turn);
    sha256_final(h, out);
}
