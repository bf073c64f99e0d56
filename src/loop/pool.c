#include <assert.h>
#include <stdio.h>
#include "base/mem.h"
#include "loop-internal.h"

typedef struct Job {
    ListLink link;
    LoopFn work, done;
    void *arg;
} Job;

struct Pool {
    Loop *loop;
    pthread_mutex_t lock;
    pthread_cond_t more;
    List jobs;      /* under lock */
    size_t n_jobs;  /* under lock; waiting, not running */
    bool finishing; /* under lock */
    unsigned n_threads;
    pthread_t threads[];
};

static Job *next_job(Pool *p)
{
    pthread_mutex_lock(&p->lock);
    while (list_empty(&p->jobs) && !p->finishing)
        pthread_cond_wait(&p->more, &p->lock);
    ListLink *link = list_pop_front(&p->jobs);
    if (link)
        p->n_jobs--;
    pthread_mutex_unlock(&p->lock);
    return link ? LIST_ENTRY(link, Job, link) : NULL;
}

static void *worker(void *arg)
{
    Pool *p = arg;
    for (Job *j; (j = next_job(p));) {
        j->work(j->arg);
        if (j->done)
            loop_post(p->loop, j->done, j->arg);
        free(j);
    }
    return NULL;
}

/* Signals are the loop thread's business. */
static int start_thread(Pool *p, unsigned i)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&p->threads[i], NULL, worker, p);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0)
        return rc;
    char name[16]; /* the kernel's limit */
    snprintf(name, sizeof name, "worker-%u", i);
    pthread_setname_np(p->threads[i], name);
    return 0;
}

int pool_new(Loop *l, unsigned threads, Pool **ret, Err *err)
{
    assert(threads > 0);
    Pool *p = xcalloc(1, sizeof *p + threads * sizeof p->threads[0]);
    p->loop = l;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->more, NULL);
    list_init(&p->jobs);
    for (; p->n_threads < threads; p->n_threads++) {
        int rc = start_thread(p, p->n_threads);
        if (rc != 0) {
            pool_free(p);
            return err_set_errno(err, rc, "loop: start worker thread");
        }
    }
    *ret = p;
    return 0;
}

Pool *pool_free(Pool *p)
{
    if (!p)
        return NULL;
    pthread_mutex_lock(&p->lock);
    p->finishing = true;
    pthread_cond_broadcast(&p->more);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->n_threads; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->more);
    pthread_mutex_destroy(&p->lock);
    free(p);
    return NULL;
}

void pool_submit(Pool *p, LoopFn work, LoopFn done, void *arg)
{
    Job *j = xnew(Job);
    list_init(&j->link);
    j->work = work;
    j->done = done;
    j->arg = arg;
    pthread_mutex_lock(&p->lock);
    list_push_back(&p->jobs, &j->link);
    p->n_jobs++;
    pthread_cond_signal(&p->more);
    pthread_mutex_unlock(&p->lock);
}

size_t pool_queued(const Pool *p)
{
    Pool *q = (Pool *)(uintptr_t)p; /* the lock is not part of what const promises */
    pthread_mutex_lock(&q->lock);
    size_t n = q->n_jobs;
    pthread_mutex_unlock(&q->lock);
    return n;
}
