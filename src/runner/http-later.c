#include "http-internal.h"

static void later_gone(void *arg)
{
    Later *l = arg;

    l->forget(l);
    free(l->text);
    free(l);
}

Later *later_new(HttpApi *a, HttpReq *req, void (*forget)(Later *l))
{
    Later *l = xnew(Later);

    l->api = a;
    l->req = req;
    l->forget = forget;
    http_req_set_user(req, l, later_gone);
    return l;
}

HttpReq *later_take(Later *l)
{
    HttpReq *req = l->req;

    http_req_set_user(req, NULL, NULL);
    free(l->text);
    free(l);
    return req;
}
