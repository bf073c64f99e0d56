#include "live.h"

#include <string.h>
#include "base/mem.h"

#define REMEMBERED 16 /* messages of one side that wait for the other */
#define TEXT_MAX ((size_t)16 << 20)

typedef enum Mode {
    MODE_NONE,    /* no message is being written */
    MODE_HELD,    /* so far it reads like a stored one that was shown: nothing is shown yet */
    MODE_SHOWN,   /* its pieces are on the screen */
    MODE_DROPPED, /* the whole was shown: what comes is known */
} Mode;

/* The newest texts, oldest first. */
typedef struct Texts {
    char *text[REMEMBERED];
    size_t n;
} Texts;

struct Live {
    Mode mode;
    char *id;
    Buf text;      /* of the message that is being written, as far as it has come */
    Texts written; /* ended and shown, not yet stored */
    Texts stored;  /* shown whole, pieces not yet seen */
};

static void texts_remove(Texts *t, size_t i)
{
    free(t->text[i]);
    memmove(&t->text[i], &t->text[i + 1], (t->n - i - 1) * sizeof(t->text[0]));
    t->n--;
}

static void texts_add(Texts *t, Str s)
{
    if (t->n == REMEMBERED)
        texts_remove(t, 0);
    t->text[t->n++] = str_dup(s);
}

static bool texts_take(Texts *t, Str s)
{
    for (size_t i = 0; i < t->n; i++) {
        if (str_eqz(s, t->text[i])) {
            texts_remove(t, i);
            return true;
        }
    }
    return false;
}

static bool texts_have_prefix(const Texts *t, Str s)
{
    for (size_t i = 0; i < t->n; i++) {
        if (str_starts(str_from(t->text[i]), s))
            return true;
    }
    return false;
}

Live *live_new(void)
{
    Live *l = xnew(Live);
    buf_init(&l->text, TEXT_MAX);
    return l;
}

Live *live_free(Live *l)
{
    if (!l)
        return NULL;
    while (l->written.n)
        texts_remove(&l->written, 0);
    while (l->stored.n)
        texts_remove(&l->stored, 0);
    buf_done(&l->text);
    free(l->id);
    free(l);
    return NULL;
}

/* White space in front is not stored. */
static Str so_far(const Live *l)
{
    Str s = buf_str(&l->text);
    while (s.len && strchr(" \t\r\n", s.ptr[0]))
        s = str_slice(s, 1, s.len);
    return s;
}

static void release(Live *l, Buf *out)
{
    if (l->mode == MODE_HELD) {
        buf_adds(out, so_far(l));
        l->mode = MODE_SHOWN;
    }
}

void live_start(Live *l, Str id, Buf *out)
{
    release(l, out);
    free(l->id);
    l->id = str_dup(id);
    l->mode = MODE_HELD;
    buf_clear(&l->text);
}

void live_piece(Live *l, Str id, Str text, Buf *out)
{
    if (l->mode == MODE_NONE || l->mode == MODE_DROPPED || !str_eqz(id, l->id))
        return;
    size_t before = so_far(l).len;
    buf_adds(&l->text, text);
    Str now = so_far(l);
    if (l->mode == MODE_SHOWN)
        buf_adds(out, str_slice(now, before, now.len));
    else if (now.len && !texts_have_prefix(&l->stored, now))
        release(l, out);
}

void live_end(Live *l, Str id, Buf *out)
{
    if (l->mode == MODE_NONE || !str_eqz(id, l->id))
        return;
    Str whole = str_trim(buf_str(&l->text));
    if (l->mode == MODE_HELD && !texts_take(&l->stored, whole))
        release(l, out);
    if (l->mode == MODE_SHOWN)
        texts_add(&l->written, whole);
    l->mode = MODE_NONE;
}

void live_stored(Live *l, Str text, Str *ret, bool *ret_begun)
{
    Str whole = str_trim(text), shown = so_far(l);
    *ret_begun = false;
    *ret = STR_NULL;
    if (texts_take(&l->written, whole))
        return;
    if (l->mode == MODE_SHOWN && str_starts(whole, shown)) {
        *ret = str_slice(whole, shown.len, whole.len);
        *ret_begun = true;
        l->mode = MODE_DROPPED;
        return;
    }
    *ret = whole;
    texts_add(&l->stored, whole);
}
