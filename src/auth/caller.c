#include "auth/auth.h"
#include <assert.h>
#include <string.h>
#include "base/mem.h"

typedef struct CallerBox {
    Caller pub;
    unsigned refs;
    char text[]; /* all strings */
} CallerBox;

static CallerBox *box(const Caller *c)
{
    union {
        const Caller *in;
        Caller *out;
    } u = {c};
    return CONTAINER_OF(u.out, CallerBox, pub);
}

static const char *put(char **at, Str prefix, Str s)
{
    char *start = *at;
    memcpy(start, prefix.ptr, prefix.len);
    if (s.len)
        memcpy(start + prefix.len, s.ptr, s.len);
    start[prefix.len + s.len] = '\0';
    *at = start + prefix.len + s.len + 1;
    return start;
}

/* "user:alice", "session:<id>", "service", "admin", "none" */
static const char *put_actor(char **at, CallerType type, Str name)
{
    static const Str plain[] = {
        [CALLER_NONE] = {"none", 4},       [CALLER_USER] = {"user", 4},   [CALLER_SESSION] = {"session", 7},
        [CALLER_SERVICE] = {"service", 7}, [CALLER_ADMIN] = {"admin", 5},
    };
    if (!name.len)
        return put(at, plain[type], STR_NULL);
    if (type == CALLER_SESSION)
        return put(at, STR("session:"), name);
    return type == CALLER_SERVICE ? put(at, STR("service:"), name) : put(at, STR("user:"), name);
}

Caller *caller_make(const CallerInfo *i)
{
    size_t text = 2 * i->username.len + i->name.len + i->email.len + i->issuer.len + i->subject.len +
                  2 * i->session_id.len + i->run_id.len;
    CallerBox *b = xcalloc(1, sizeof(*b) + text + sizeof("service:") + 8);
    char *at = b->text;
    b->refs = 1;
    b->pub.type = i->type;
    b->pub.authz_off = i->authz_off;
    b->pub.session_id = put(&at, STR(""), i->session_id);
    b->pub.run_id = put(&at, STR(""), i->run_id);
    b->pub.username = put(&at, STR(""), i->username);
    b->pub.name = put(&at, STR(""), i->name);
    b->pub.email = put(&at, STR(""), i->email);
    b->pub.issuer = put(&at, STR(""), i->issuer);
    b->pub.subject = put(&at, STR(""), i->subject);
    b->pub.actor = put_actor(&at, i->type, i->session_id.len ? i->session_id : i->username);
    return &b->pub;
}

Caller *caller_new(CallerType type, Str username, Str name, Str email)
{
    return caller_make(&(CallerInfo){.type = type, .username = username, .name = name, .email = email});
}

Caller *caller_ref(const Caller *c)
{
    CallerBox *b = box(c);
    b->refs++;
    return &b->pub;
}

Caller *caller_unref(Caller *c)
{
    if (!c)
        return NULL;
    CallerBox *b = box(c);
    assert(b->refs > 0);
    if (!--b->refs)
        free(b);
    return NULL;
}
