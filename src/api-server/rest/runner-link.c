/*
 * Where a session's runner is, and what a request to it carries: what the runner needs, nothing of the
 * caller's credentials. rest-core.md 11.4.
 */
#include "rest-internal.h"

#include "crypto/runner-token.h"
#include "http/url.h"

#define PROCESS_RUNTIME "local" /* kube_namespace of sessions that run as processes beside us */

static Str variable(const char *name, size_t len, Str id, Str sub)
{
    return str_eqz((Str){name, len}, "id") ? id : sub;
}

/* "{id}" is the session, any other variable is `sub`; each one segment. */
static void expand_template(const char *template, Str id, Str sub, Buf *out)
{
    for (const char *p = template; *p; p++) {
        if (*p != '{') {
            (void)buf_addc(out, *p);
            continue;
        }
        size_t len = strcspn(p + 1, "}");
        url_escape_segment(out, variable(p + 1, len, id, sub));
        p += len + 1;
    }
}

static void add_lower(Buf *out, Str s)
{
    for (size_t i = 0; i < s.len; i++)
        (void)buf_addc(out, s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] + ('a' - 'A')) : s.ptr[i]);
}

static bool runs_as_process(const Obj *session)
{
    return str_eqz(obj_str(session, SESSION_KUBE_NAMESPACE), PROCESS_RUNTIME);
}

/* Both parts of the host name are the server's own: the id, and a namespace that was checked to be a DNS
 * label. */
bool runner_url(const Rest *r, const Obj *session, const char *path, Str sub, Buf *out)
{
    Str name = obj_str(session, SESSION_KUBE_CR_NAME), ns = obj_str(session, SESSION_KUBE_NAMESPACE);
    if (!name.len || !ns.len)
        return false;
    if (runs_as_process(session)) {
        expand_template(r->o.runner_url, name, STR_NULL, out);
    } else {
        (void)buf_addz(out, "http://session-");
        add_lower(out, name);
        (void)buf_addf(out, "." STR_FMT ".svc.cluster.local:8001", STR_ARG(ns));
    }
    expand_template(path, name, sub, out);
    return !out->failed;
}

/* The platform's token goes to the platform's proxy only, never to a runner; a runner gets its own. */
size_t runner_credential(const Rest *r, const Obj *session, HttpHeader *to, Secret **ret_made)
{
    bool process = runs_as_process(session);
    const Secret *s = process ? r->o.proxy_token : r->o.runner_token;
    if (!process && !secret_is_empty(r->o.runner_key))
        s = *ret_made = runner_token(r->o.runner_key, obj_str(session, FIELD_ID));
    if (secret_is_empty(s))
        return 0;
    *to = (HttpHeader){process ? "X-Ambient-Proxy-Token" : "X-Ambient-Session-Token", secret_reveal(s)};
    return 1;
}
