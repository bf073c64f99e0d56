/* What the server says of itself. rest-core.md 1.3. */
#include "rest-internal.h"

static void member(Buf *out, const char *key, const char *value)
{
    (void)buf_addf(out, "%s\"%s\":", out->len > 1 ? "," : "", key);
    json_write_str(out, str_from(value ? value : ""));
}

static void add_version(Request *q, const char *none)
{
    const RestOptions *o = &q->rest->o;
    member(&q->out, "version", o->version ? o->version : none);
    member(&q->out, "build_time", o->build_time ? o->build_time : none);
}

void handle_metadata(Request *q)
{
    (void)buf_addc(&q->out, '{');
    member(&q->out, "id", "ambient-api-server");
    member(&q->out, "href", "/api/ambient");
    member(&q->out, "kind", "API");
    add_version(q, "unknown");
    (void)buf_addc(&q->out, '}');
    rest_reply_json(q, 200, &q->out);
}

void handle_version(Request *q)
{
    (void)buf_addc(&q->out, '{');
    add_version(q, "");
    member(&q->out, "git_tag", q->rest->o.git_tag);
    (void)buf_addc(&q->out, '}');
    rest_reply_json(q, 200, &q->out);
}

/* Written once; it only depends on tables. */
void handle_openapi(Request *q)
{
    Buf *doc = &q->rest->openapi;
    if (!doc->len)
        openapi_write(doc);
    (void)buf_adds(&q->out, buf_str(doc));
    rest_reply_json(q, 200, &q->out);
}

void handle_openapi_html(Request *q)
{
    (void)buf_addz(
        &q->out, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Ambient API</title>\n"
                 "<style>body{font:14px sans-serif;margin:2em}code{font-weight:bold}td{padding:2px 1em 2px 0;"
                 "vertical-align:top}</style>\n<h1>Ambient API</h1>\n<p>The machine-readable document is at "
                 "<a href=\"openapi\">openapi</a>.</p>\n<table>\n");
    FOREACH_ROUTE (rt) {
        (void)buf_addf(&q->out, "<tr><td>%s<td><code>%s%s</code><td>%s<td>%s\n", rt->r.method,
                       rt->flags & R_ROOT ? "" : API_PREFIX, rt->r.pattern, rt->doc,
                       rt->r.permission ? rt->r.permission : "public");
    }
    (void)buf_addz(&q->out, "</table></html>\n");
    rest_reply_body(q, 200, &q->out, "text/html; charset=utf-8");
}
