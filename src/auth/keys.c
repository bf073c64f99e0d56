#include "keys-internal.h"
#include <assert.h>
#include <errno.h>
#include <sys/stat.h>
#include "base/file.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/client.h"

#define NEGATIVE_MAX 1024

const KeysOptions keys_options_default = {
    .file_interval = 2 * USEC_PER_SEC,
    .refresh = 3600 * USEC_PER_SEC,
    .unknown_interval = 10 * USEC_PER_SEC,
    .fetch_timeout = 10 * USEC_PER_SEC,
    .negative_ttl = 30 * USEC_PER_SEC,
    .retry_first = 1 * USEC_PER_SEC,
    .retry_max = 60 * USEC_PER_SEC,
    .waiters_max = 1024,
};

struct KeyWait {
    ListLink link; /* in Keys.waiters or Keys.resolving */
    Keys *keys;
    char *kid;
    KeyDone done;
    void *arg;
};

typedef struct FileMark {
    struct timespec mtime;
    off_t size;
    ino_t inode;
} FileMark;

struct Keys {
    Loop *loop;
    KeysOptions o;
    JwkSet *from_file, *from_url;
    FileMark mark;
    Usec file_looked;
    HttpClient *http;
    HttpCall *fetch; /* not NULL while one runs */
    Timer *timer;    /* the next fetch */
    Usec fetch_due;  /* USEC_NEVER: not armed */
    Usec fetch_started;
    Usec retry; /* wait after the next failure */
    bool dead;
    List waiters, resolving;
    size_t n_waiters;
    Map *negative; /* kid -> Usec *, when it is forgotten */
};

/* ---- file ---- */

static int read_mark(const char *path, FileMark *ret, Err *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return err_set_errno(err, errno, "%s", path);
    *ret = (FileMark){st.st_mtim, st.st_size, st.st_ino};
    return 0;
}

static bool same_mark(const FileMark *a, const FileMark *b)
{
    return a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec && a->size == b->size &&
           a->inode == b->inode;
}

static int load_file(Keys *k, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(JWK_SET_BYTES_MAX);
    JwkSet *set;
    int rc = file_read(k->o.file, &text, err);
    if (rc == 0 && (rc = jwk_set_parse(buf_str(&text), &set, err)) < 0)
        err_wrap(err, "%s", k->o.file);
    if (rc < 0)
        return rc;
    jwk_set_free(k->from_file);
    k->from_file = set;
    log_info("signing keys read", F_STR("file", k->o.file), F_UINT("keys", jwk_set_len(set)));
    return 0;
}

/* The mark is taken first: a change while reading is seen the next time. */
static int look_at_file(Keys *k, Err *err)
{
    FileMark mark;
    k->file_looked = clock_now(k->o.clock);
    int rc = read_mark(k->o.file, &mark, err);
    if (rc < 0 || (same_mark(&mark, &k->mark) && k->from_file))
        return rc;
    k->mark = mark;
    return load_file(k, err);
}

static void look_at_file_when_due(Keys *k)
{
    Err err;
    if (!k->o.file || clock_now(k->o.clock) < usec_add(k->file_looked, k->o.file_interval))
        return;
    if (look_at_file(k, &err) < 0)
        log_warn("signing keys not read, the old ones stay", F_ERR(&err));
}

/* ---- kids that are known not to exist ---- */

static void negative_clear(Keys *k)
{
    MAP_FOREACH (k->negative, it)
        free(it.value);
    map_clear(k->negative);
}

static void negative_add(Keys *k, Str kid)
{
    if (map_len(k->negative) >= NEGATIVE_MAX)
        negative_clear(k);
    Usec *until = xnew(Usec);
    *until = usec_add(clock_now(k->o.clock), k->o.negative_ttl);
    free(map_put(k->negative, kid, until));
}

static bool negative_has(Keys *k, Str kid)
{
    Usec *until = map_get(k->negative, kid);
    if (until && clock_now(k->o.clock) < *until)
        return true;
    free(map_remove(k->negative, kid));
    return false;
}

/* ---- URL ---- */

static void fetch_start(void *arg);

static void schedule(Keys *k, Usec after)
{
    Usec due = usec_add(clock_now(k->o.clock), after);
    if (due >= k->fetch_due)
        return;
    k->fetch_due = due;
    timer_arm(k->timer, after);
}

static void wait_free(KeyWait *w)
{
    list_remove(&w->link);
    w->keys->n_waiters--;
    free(w->kid);
    free(w);
}

static void wait_finish(KeyWait *w, const Jwk *key, const Err *err)
{
    KeyDone done = w->done;
    void *arg = w->arg;
    wait_free(w);
    done(arg, key, err);
}

static KeyWait *first_of(List *l)
{
    return list_empty(l) ? NULL : LIST_ENTRY(l->next, KeyWait, link);
}

/* After a fetch. Those who come while this runs wait for the next one. */
static void resolve(Keys *k, bool fresh)
{
    while (!list_empty(&k->waiters))
        list_push_back(&k->resolving, list_pop_front(&k->waiters));
    for (KeyWait *w; (w = first_of(&k->resolving)) && !k->dead;) {
        Err err = {0};
        const Jwk *key = keys_find(k, str_from(w->kid));
        if (!key && fresh) {
            negative_add(k, str_from(w->kid));
            err_set(&err, ERR_UNAUTHENTICATED, "signing key is not known");
        } else if (!key) {
            err_set(&err, ERR_UNAVAILABLE, "signing keys are not available");
        }
        wait_finish(w, key, key ? NULL : &err);
    }
}

static int take_answer(Keys *k, const HttpResponse *r, Err *err)
{
    JwkSet *set;
    if (r->status != 200)
        return err_set(err, ERR_BAD_GATEWAY, "HTTP status %d", r->status);
    int rc = jwk_set_parse(r->body, &set, err);
    if (rc < 0)
        return rc;
    jwk_set_free(k->from_url);
    k->from_url = set;
    return 0;
}

static void fetch_failed(Keys *k, const Err *err)
{
    log_warn("signing keys not fetched, the old ones stay", F_STR("url", k->o.url), F_ERR(err),
             F_UINT("keys", jwk_set_len(k->from_url)));
    schedule(k, k->retry);
    k->retry = k->retry < k->o.retry_max / 2 ? k->retry * 2 : k->o.retry_max;
}

/* As long as the provider says, within reason: it may say less than our own interval, never more. */
static Usec lifetime(const Keys *k, const HttpResponse *r)
{
    Str directives = r->header(r, "Cache-Control");
    const Str name = STR("max-age=");
    while (directives.ptr) {
        Str d = str_trim(str_cut(&directives, ','));
        uint64_t seconds;
        if (!str_istarts(d, name) || str_to_u64(str_slice(d, name.len, d.len), &seconds) < 0)
            continue;
        Usec most = k->o.refresh, least = k->o.unknown_interval;
        Usec asked = seconds > most / USEC_PER_SEC ? most : seconds * USEC_PER_SEC;
        return asked < least ? least : asked;
    }
    return k->o.refresh;
}

static void fetch_done(void *arg, const HttpResponse *r, const Err *http_err)
{
    Keys *k = arg;
    Err err;
    k->fetch = NULL;
    bool ok = r && take_answer(k, r, &err) == 0;
    if (!ok) {
        fetch_failed(k, r ? &err : http_err);
    } else {
        log_info("signing keys fetched", F_STR("url", k->o.url), F_UINT("keys", jwk_set_len(k->from_url)));
        k->retry = k->o.retry_first;
        negative_clear(k);
        schedule(k, lifetime(k, r));
    }
    resolve(k, ok);
}

static void fetch_start(void *arg)
{
    Keys *k = arg;
    k->fetch_due = USEC_NEVER;
    if (k->fetch)
        return;
    const HttpHeader accept = {"Accept", STR("application/json")};
    const HttpRequest req = {
        .method = "GET",
        .url = k->o.url,
        .headers = &accept,
        .n_headers = 1,
        .timeout = k->o.fetch_timeout,
        .body_max = JWK_SET_BYTES_MAX,
    };
    k->fetch_started = clock_now(k->o.clock);
    k->fetch = http_send(k->http, &req, fetch_done, k);
}

static int start_url(Keys *k, Err *err)
{
    const HttpClientOptions http = {.user_agent = "ambient/" AMBIENT_VERSION};
    int rc = http_client_new(k->loop, &http, &k->http, err);
    if (rc < 0)
        return rc;
    if (!str_istarts(str_from(k->o.url), STR("https:")))
        log_warn("signing keys come over an unprotected connection", F_STR("url", k->o.url));
    k->timer = timer_new(k->loop, fetch_start, k);
    k->retry = k->o.retry_first;
    fetch_start(k);
    return 0;
}

/* ---- life ---- */

static void keys_destroy(void *arg)
{
    Keys *k = arg;
    jwk_set_free(k->from_file);
    jwk_set_free(k->from_url);
    negative_clear(k);
    map_free(k->negative);
    free(k);
}

static void fail_all(List *waiters)
{
    Err err = {0};
    err_set(&err, ERR_UNAVAILABLE, "server is shutting down");
    for (KeyWait *w; (w = first_of(waiters));)
        wait_finish(w, NULL, &err);
}

Keys *keys_free(Keys *k)
{
    if (!k)
        return NULL;
    assert(!k->dead);
    k->dead = true;
    http_cancel(k->fetch);
    k->http = http_client_free(k->http);
    k->timer = timer_free(k->timer);
    fail_all(&k->waiters);
    fail_all(&k->resolving);
    loop_defer(k->loop, keys_destroy, k); /* this may be one of our callbacks */
    return NULL;
}

int keys_new(Loop *l, const KeysOptions *o, Keys **ret, Err *err)
{
    Keys *k = xnew(Keys);
    *k = (Keys){.loop = l, .o = *o, .fetch_due = USEC_NEVER, .negative = map_new()};
    list_init(&k->waiters);
    list_init(&k->resolving);
    Err why = {0};
    int rc = o->file ? look_at_file(k, &why) : 0;
    if (rc < 0 && o->url) { /* the other source may do */
        log_warn("signing keys not read", F_ERR(&why));
        rc = 0;
    }
    if (rc == 0 && o->url)
        rc = start_url(k, &why);
    if (rc < 0) {
        keys_free(k);
        return err_set(err, why.code, "signing keys: %s", why.msg);
    }
    *ret = k;
    return 0;
}

const Jwk *keys_find(Keys *k, Str kid)
{
    look_at_file_when_due(k);
    const Jwk *key = jwk_set_find(k->from_url, kid);
    return key ? key : jwk_set_find(k->from_file, kid);
}

/* ---- waiting ---- */

static void ask_for_fetch(Keys *k)
{
    if (k->fetch)
        return;
    Usec now = clock_now(k->o.clock), allowed = usec_add(k->fetch_started, k->o.unknown_interval);
    schedule(k, allowed > now ? allowed - now : 0);
}

int keys_wait(Keys *k, Str kid, KeyDone done, void *arg, KeyWait **ret, Err *err)
{
    if (!k->o.url || k->dead || negative_has(k, kid))
        return err_set(err, ERR_UNAUTHENTICATED, "signing key is not known");
    if (k->n_waiters >= k->o.waiters_max)
        return err_set(err, ERR_UNAVAILABLE, "too many callers wait for signing keys");
    KeyWait *w = xnew(KeyWait);
    *w = (KeyWait){.keys = k, .kid = str_dup(kid), .done = done, .arg = arg};
    list_push_back(&k->waiters, &w->link);
    k->n_waiters++;
    ask_for_fetch(k);
    *ret = w;
    return 0;
}

void keys_look(Keys *k, Str kid)
{
    if (k->o.url && !k->dead && !negative_has(k, kid))
        ask_for_fetch(k);
}

void keys_wait_cancel(KeyWait *w)
{
    if (w)
        wait_free(w);
}
