/*
 * Answers of GET, kept as bytes until any object changes. Clients that poll ask the same again and again, and
 * a list of a hundred objects costs a hundred times what sending it does. An entry is true as long as
 * svc_changes() has the value that it had when the read was asked for; a writer is answered after that value
 * moved, so whoever writes and then reads sees what it wrote. The key holds everything that an answer depends
 * on: who asks, for what, and in which coding. There is no cache for a store that other processes write to.
 */
#include "rest-internal.h"

#define CACHE_BYTES_MAX ((size_t)8 << 20)
#define ENTRY_BYTES_MAX ((size_t)256 << 10)
#define ENTRY_OVERHEAD 256

typedef struct Entry {
    ListLink link;
    char *key;
    uint64_t changes;
    bool packed;
    char etag[SVC_ETAG_SIZE];
    size_t len;
    char body[];
} Entry;

struct Cache {
    Map *entries;
    List by_use; /* the one used longest ago first */
    size_t bytes;
};

Cache *cache_new(void)
{
    Cache *c = xnew(Cache);
    c->entries = map_new();
    list_init(&c->by_use);
    return c;
}

static size_t cost(const Entry *e)
{
    return e->len + strlen(e->key) + ENTRY_OVERHEAD;
}

static void drop(Cache *c, Entry *e)
{
    c->bytes -= cost(e);
    list_remove(&e->link);
    map_remove(c->entries, str_from(e->key));
    free(e->key);
    free(e);
}

Cache *cache_free(Cache *c)
{
    if (!c)
        return NULL;
    LIST_FOREACH_SAFE (&c->by_use, it)
        drop(c, LIST_ENTRY(it, Entry, link));
    map_free(c->entries);
    free(c);
    return NULL;
}

static char *key_of(const Request *q)
{
    Str project = http_req_header(q->http, "X-Ambient-Project");
    return xasprintf("%d %s %s\n%s\n%s\n" STR_FMT "\n%d " STR_FMT, (int)q->caller->type, q->caller->actor,
                     q->caller->run_id, q->caller->issuer, q->caller->subject, STR_ARG(project), q->gzip,
                     STR_ARG(http_req_raw_target(q->http)));
}

static Entry *find(Cache *c, const char *key, uint64_t changes)
{
    Entry *e = map_get(c->entries, str_from(key));
    if (e && e->changes != changes) {
        drop(c, e);
        return NULL;
    }
    return e;
}

bool cache_answer(Request *q)
{
    Cache *c = q->rest->cache;
    if (!c)
        return false;
    if (!q->route->kind || !q->route->kind->event_source) /* its changes are not heard of */
        return false;
    if (q->rest->ending) /* nobody tells of commits any more */
        return false;
    q->cache_key = key_of(q);
    q->changes = svc_changes(q->rest->o.service);
    Entry *e = find(c, q->cache_key, q->changes);
    if (!e)
        return false;
    list_remove(&e->link);
    list_push_back(&c->by_use, &e->link);
    memcpy(q->etag, e->etag, sizeof(q->etag));
    rest_reply_kept(q, (Str){e->body, e->len}, e->packed);
    return true;
}

void cache_keep(Request *q)
{
    Cache *c = q->rest->cache;
    const Buf *body = q->packed.len ? &q->packed : &q->out;
    bool changed = svc_changes(q->rest->o.service) != q->changes;
    if (!c || !q->cache_key || changed || body->failed || body->len > ENTRY_BYTES_MAX)
        return;
    Entry *old = map_get(c->entries, str_from(q->cache_key));
    if (old)
        drop(c, old);
    Entry *e = try_malloc(sizeof(Entry) + body->len);
    if (!e)
        return;
    *e = (Entry){.key = TAKE(q->cache_key), .changes = q->changes, .packed = q->packed.len, .len = body->len};
    memcpy(e->etag, q->etag, sizeof(e->etag));
    memcpy(e->body, body->data, body->len);
    map_put(c->entries, str_from(e->key), e);
    list_push_back(&c->by_use, &e->link);
    c->bytes += cost(e);
    while (c->bytes > CACHE_BYTES_MAX)
        drop(c, LIST_ENTRY(c->by_use.next, Entry, link));
}
