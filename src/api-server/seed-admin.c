#include "seed-admin.h"

#include <stdio.h>
#include "base/mem.h"
#include "loop/loop.h"
#include "service/service.h"
#include "store/store.h"

typedef struct Seed {
    Loop *loop;
    const char *username;
    bool done;
    Err err;
} Seed;

static void seeded(void *arg, const char *user_id, bool made, const Err *err)
{
    Seed *s = arg;
    s->done = true;
    if (err)
        s->err = *err;
    else if (made)
        (void)printf("platform:admin binding created for user \"%s\" (id=%s)\n", s->username, user_id);
    else
        (void)printf("platform:admin binding already exists for user \"%s\"\n", s->username);
}

int seed_admin_run(const Config *c, Err *err)
{
    Loop *l = NULL;
    Store *store = NULL;
    StoreOptions where = config_store(c);
    Seed s = {.username = c->username};
    if (!c->username || !*c->username)
        return err_set(err, ERR_USAGE, "seed-admin needs --username NAME");
    int rc = loop_new(&l, err);
    if (rc == 0)
        rc = store_open(l, &where, &store, err);
    if (rc == 0) {
        Service *service = service_new(l, &(ServiceOptions){.store = store});
        service_seed_admin(service, c->username, seeded, &s);
        while (!s.done)
            loop_run_once(l, true);
        store_close(store);
        loop_run_once(l, false);
        service_free(service);
    }
    if (l)
        loop_free(l);
    if (s.err.code && err)
        *err = s.err;
    return s.err.code ? -(int)s.err.code : rc;
}
