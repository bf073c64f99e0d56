#include "transcript.h"

#include "base/mem.h"
#include "utf8.h"

#define ITEM_MAX ((size_t)16 << 10)

typedef struct Item {
    ListLink link;
    uint64_t seq;
    char *speaker, *text;
    size_t len;
} Item;

void transcript_init(Transcript *t)
{
    *t = (Transcript){0};
    list_init(&t->items);
}

static void drop_first(Transcript *t)
{
    Item *i = LIST_ENTRY(t->items.next, Item, link);

    list_remove(&i->link);
    t->bytes -= i->len;
    free(i->speaker);
    free(i->text);
    free(i);
}

void transcript_done(Transcript *t)
{
    while (!list_empty(&t->items))
        drop_first(t);
}

void transcript_add(Transcript *t, uint64_t seq, const char *speaker, Str text)
{
    Item *i = xnew(Item);

    i->seq = seq;
    i->speaker = xstrdup(speaker);
    i->text = str_dup(str_slice(text, 0, utf8_cut(text, ITEM_MAX)));
    i->len = strlen(i->text) + strlen(speaker);
    list_push_back(&t->items, &i->link);
    t->bytes += i->len;
    while (t->bytes > TRANSCRIPT_MAX)
        drop_first(t);
}

void transcript_write(const Transcript *t, uint64_t seq, Buf *out)
{
    LIST_FOREACH (&t->items, l) {
        const Item *i = LIST_ENTRY(l, Item, link);
        if (seq == 0 || i->seq < seq)
            buf_addf(out, "%s: %s\n\n", i->speaker, i->text);
    }
}
