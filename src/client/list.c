#include "client-internal.h"

#include "http/url.h"

#define PAGE 100
#define TRIES 4 /* the first one and three more */
#define RETRY_FIRST (200 * USEC_PER_MSEC)
#define PATH_MAX_LEN 8192

struct ClientList {
    ListLink link;
    Client *client;
    const Kind *kind;
    char *path;       /* without query */
    char *query;      /* other parameters, ended by '&' when not empty */
    char *search;     /* the caller's own, still escaped; NULL = none */
    char *project;    /* NULL = the client's */
    char *last_id;    /* of the newest object seen; NULL at the start */
    char *page_first; /* id of the page's first object */
    ClientEach each;
    ClientListDone done;
    void *arg;
    ClientCall *call; /* NULL while waiting for the timer */
    Timer *retry;
    unsigned tries;
    bool ended;
};

static void list_destroy(void *arg)
{
    ClientList *l = arg;

    free(l->path);
    free(l->query);
    free(l->search);
    free(l->project);
    free(l->last_id);
    free(l->page_first);
    free(l);
}

void client_list_cancel(ClientList *l)
{
    if (!l || l->ended)
        return;
    l->ended = true;
    list_remove(&l->link);
    client_cancel(l->call);
    timer_free(l->retry);
    loop_defer(l->client->loop, list_destroy, l);
}

void client_list_stop(ListLink *link)
{
    client_list_cancel(LIST_ENTRY(link, ClientList, link));
}

static void finish(ClientList *l, const Err *err)
{
    l->call = NULL;
    client_list_cancel(l);
    l->done(l->arg, err);
}

/* "search=" with the caller's condition and "behind the last id". A quote in an id is doubled as the language
 * asks. */
static void add_search(const ClientList *l, Buf *b)
{
    if (!l->last_id && !l->search)
        return;
    buf_addz(b, "&search=");
    if (l->search && l->last_id)
        buf_addf(b, "%%28%s%%29+and+", l->search);
    else if (l->search)
        buf_addz(b, l->search);
    if (!l->last_id)
        return;
    CLEANUP_BUF Buf quoted = BUF_INIT(PATH_MAX_LEN);
    for (const char *p = l->last_id; *p; p++)
        buf_add(&quoted, *p == '\'' ? "''" : p, *p == '\'' ? 2 : 1);
    buf_addz(b, "id+%3E+%27");
    url_escape_query(b, buf_str(&quoted));
    buf_addz(b, "%27");
}

static void on_page(void *arg, const ClientAnswer *a, const Err *err);

static void ask(void *arg)
{
    ClientList *l = arg;
    CLEANUP_BUF Buf path = BUF_INIT(PATH_MAX_LEN);

    buf_addf(&path, "%s?%sorderBy=id&page=1&size=%d", l->path, l->query, PAGE);
    add_search(l, &path);
    if (path.failed) { /* cannot be sent, and would ask for something else when cut */
        Err e = {0};
        err_set(&e, ERR_TOO_LARGE, "the list's query has more than %d bytes", PATH_MAX_LEN);
        finish(l, &e);
        return;
    }
    ClientRequest r = {.method = "GET", .path = path.data, .project = l->project};
    l->call = client_request(l->client, &r, on_page, l);
}

static bool retry_later(ClientList *l, const Err *err)
{
    if (!err_info(err->code)->may_retry || ++l->tries >= TRIES)
        return false;
    timer_arm(l->retry, RETRY_FIRST << (l->tries - 1));
    return true;
}

/* A server that ignores the search would send the same page for ever. */
static bool begins_again(ClientList *l, Str id)
{
    if (l->page_first && str_eqz(id, l->page_first))
        return true;
    free(l->page_first);
    l->page_first = str_dup(id);
    return false;
}

/* Hands out one page. Returns the number of its objects, or a negative code. */
static int take_page(ClientList *l, const json_t *items, Err *err)
{
    size_t n = json_array_size(items);

    for (size_t i = 0; i < n && !l->ended; i++) {
        CLEANUP(obj_freep) Obj *o = NULL;
        int r = obj_from_answer(l->kind, json_array_get(items, i), &o, err);
        if (r < 0)
            return r;
        if (!obj_has(o, FIELD_ID))
            return err_set(err, ERR_BAD_GATEWAY, "an object of the list has no id");
        if (i == 0 && begins_again(l, obj_str(o, FIELD_ID)))
            return err_set(err, ERR_BAD_GATEWAY, "the server does not go on behind id %s", l->last_id);
        free(l->last_id);
        l->last_id = str_dup(obj_str(o, FIELD_ID));
        l->each(l->arg, TAKE(o));
    }
    return (int)n;
}

static void on_page(void *arg, const ClientAnswer *a, const Err *err)
{
    ClientList *l = arg;
    Err e = {0};

    l->call = NULL;
    if (err) {
        if (!retry_later(l, err))
            finish(l, err);
        return;
    }
    const json_t *items = json_get_arr(a->body, "items");
    int n = items ? take_page(l, items, &e)
                  : err_set(&e, ERR_BAD_GATEWAY, "the answer is no list: it has no items");
    if (l->ended)
        return;
    l->tries = 0;
    if (n < 0) {
        err_wrap(&e, "list %s", l->kind->collection);
        finish(l, &e);
    } else if (n < PAGE) {
        finish(l, NULL);
    } else {
        ask(l);
    }
}

/* Splits the caller's query: `search` is joined with ours at each page, the rest is repeated as it is. */
static void split_path(ClientList *l, const char *path)
{
    Str rest = str_from(path);
    Str head = str_cut(&rest, '?');
    CLEANUP_BUF Buf query = BUF_INIT(PATH_MAX_LEN);

    l->path = str_dup(head);
    while (rest.ptr) {
        Str param = str_cut(&rest, '&');
        if (str_starts(param, STR("search="))) {
            free(l->search);
            l->search = str_dup(str_slice(param, sizeof("search=") - 1, param.len));
        } else if (param.len > 0) {
            buf_adds(&query, param);
            buf_addc(&query, '&');
        }
    }
    if (l->search && !*l->search) {
        free(l->search);
        l->search = NULL;
    }
    l->query = buf_take(&query);
}

ClientList *client_list_all(Client *c, const Kind *k, const char *path, const char *project, ClientEach each,
                            ClientListDone done, void *arg)
{
    ClientList *l = xnew(ClientList);

    l->client = c;
    l->kind = k;
    l->project = project ? xstrdup(project) : NULL;
    l->each = each;
    l->done = done;
    l->arg = arg;
    l->retry = timer_new(c->loop, ask, l);
    list_push_back(&c->lists, &l->link);
    split_path(l, path);
    timer_arm(l->retry, 0); /* not at once: a query that is too long ends the list in a callback */
    return l;
}
