/* The catalogue of errors that `href` of every error points into. */
#include "rest-internal.h"

#define ROUTER_404 404

static const struct CatalogueEntry {
    int no;
    const char *reason;
} catalogue[] = {
#define ERR(name, http, ref, grpc, exit_code, retry, text) {ref, text},
#include "base/errors.def"
#undef ERR
    {ROUTER_404, "The requested resource doesn't exist"},
};

/* Several of our codes share a number of the reference; the first one describes it. */
static bool is_first(size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (catalogue[k].no == catalogue[i].no)
            return false;
    return true;
}

static void write_entry(const struct CatalogueEntry *e, Buf *out)
{
    (void)buf_addf(out,
                   "{\"code\":\"ambient-api-server-%d\",\"href\":\"" API_PREFIX
                   "/errors/%d\",\"id\":\"%d\",\"kind\":\"Error\",\"reason\":",
                   e->no, e->no, e->no);
    json_write_str(out, str_from(e->reason));
    (void)buf_addc(out, '}');
}

void handle_errors(Request *q)
{
    int n = 0;
    (void)buf_addz(&q->out, "{\"items\":[");
    for (size_t i = 0; i < ARRAY_LEN(catalogue); i++) {
        if (!is_first(i))
            continue;
        if (n++)
            (void)buf_addc(&q->out, ',');
        write_entry(&catalogue[i], &q->out);
    }
    (void)buf_addf(&q->out, "],\"kind\":\"ErrorList\",\"page\":1,\"size\":%d,\"total\":%d}", n, n);
    rest_reply_json(q, 200, &q->out);
}

void handle_error_one(Request *q)
{
    int64_t no = 0;
    for (size_t i = 0; str_to_i64(q->vars.id, &no) == 0 && i < ARRAY_LEN(catalogue); i++) {
        if (catalogue[i].no != no)
            continue;
        write_entry(&catalogue[i], &q->out);
        rest_reply_json(q, 200, &q->out);
        return;
    }
    Err err = {0};
    (void)err_set(&err, ERR_NOT_FOUND, "Error with id='" STR_FMT "' not found",
                  STR_ARG(str_slice(q->vars.id, 0, 64)));
    rest_reply_error(q, &err);
}
