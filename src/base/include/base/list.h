/* Intrusive doubly linked list. A List is its own sentinel; a ListLink that is in no list points to itself.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include "base/cleanup.h"

typedef struct ListLink {
    struct ListLink *prev, *next;
} ListLink;
typedef ListLink List;

static inline void list_init(ListLink *l)
{
    l->prev = l->next = l;
}
static inline bool list_empty(const List *l)
{
    return l->next == l;
}
static inline bool list_linked(const ListLink *l)
{
    return l->next && l->next != l;
}
static inline void list_insert_before(ListLink *at, ListLink *l)
{
    l->prev = at->prev;
    l->next = at;
    at->prev->next = l;
    at->prev = l;
}
static inline void list_push_back(List *list, ListLink *l)
{
    list_insert_before(list, l);
}
static inline void list_push_front(List *list, ListLink *l)
{
    list_insert_before(list->next, l);
}
/* Safe on an unlinked (initialised) link; leaves it unlinked. */
static inline void list_remove(ListLink *l)
{
    if (!l->next)
        return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    list_init(l);
}
static inline ListLink *list_pop_front(List *list)
{
    ListLink *l = list->next;
    if (l == list)
        return NULL;
    list_remove(l);
    return l;
}
/* Moves all of `from` to the end of `list`; `from` is empty then. */
static inline void list_splice(List *list, List *from)
{
    if (list_empty(from))
        return;
    from->next->prev = list->prev;
    list->prev->next = from->next;
    from->prev->next = list;
    list->prev = from->prev;
    list_init(from);
}
#define LIST_ENTRY(link, type, member) CONTAINER_OF(link, type, member)
#define LIST_FOREACH(list, it) for (ListLink *it = (list)->next; it != (list); it = it->next)
/* `it` may be removed and freed in the body. */
#define LIST_FOREACH_SAFE(list, it)                                                                          \
    for (ListLink *it = (list)->next, *it##_next = it->next; it != (list);                                   \
         it = it##_next, it##_next = it->next)
