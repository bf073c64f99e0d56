/*
 * What other processes commit to the same database. A thread with a connection of its own waits for their
 * notifications and tells the loop; several that come at once are told once. A notification may be lost with
 * its connection, so each new connection counts as one, and the hub looks now and then by itself. A server
 * that has nothing to do learns here, too, that its database is gone.
 */
#include "store-internal.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PAUSE (5 * USEC_PER_SEC)
#define PAUSE_BROKEN (250 * USEC_PER_MSEC)

/* Loop thread. */
static void tell(void *arg)
{
    Store *s = arg;
    atomic_store(&s->news_posted, false);
    if (s->news)
        s->news(s->news_arg);
}

static int nothing(Tx *tx, void *arg, Err *err)
{
    return 0;
}

/* The writer finds out whether the database is there, and goes on asking until it is. */
static void have_the_writer_look(Store *s)
{
    (void)store_submit(s, STORE_WRITE, nothing, NULL, NULL, NULL);
}

static void *listen_main(void *arg)
{
    Store *s = arg;
    Usec pause = PAUSE;
    while (!atomic_load(&s->ear_stop)) {
        bool news = false;
        int rc = s->be->listen(s->ear, s->ear_wake, pause, &news, NULL);
        if (rc < 0 && pause == PAUSE)
            have_the_writer_look(s);
        pause = rc < 0 ? PAUSE_BROKEN : PAUSE;
        if (news && !atomic_exchange(&s->news_posted, true))
            loop_post(s->loop, tell, s);
    }
    return NULL;
}

int listen_start(Store *s, Err *err)
{
    if (!s->be->listen || s->private)
        return 0;
    s->ear_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->ear_wake < 0)
        return err_set_errno(err, errno, "cannot make an event descriptor");
    const DbSource src = {s->location, s->password_file, s->self};
    int rc = s->be->open(&src, DB_WRITER, &s->ear, err);
    if (rc == 0)
        rc = store_start_thread(&s->ear_thread, listen_main, s, err);
    s->ear_started = rc == 0;
    return rc;
}

void listen_stop(Store *s)
{
    uint64_t one = 1;
    atomic_store(&s->ear_stop, true);
    if (s->ear_started && write(s->ear_wake, &one, sizeof(one)) == sizeof(one))
        pthread_join(s->ear_thread, NULL);
    if (s->ear)
        s->ear = s->be->close(s->ear);
    if (s->ear_wake >= 0)
        close(s->ear_wake);
    s->ear_wake = -1;
    s->ear_started = false;
}
