#include "queue-internal.h"

#include <errno.h>

void queue_init(Queue *q, size_t max)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&q->filled, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&q->lock, NULL);
    q->head = NULL;
    q->tail = &q->head;
    q->len = 0;
    q->max = max;
    q->closed = false;
}

void queue_done(Queue *q)
{
    pthread_cond_destroy(&q->filled);
    pthread_mutex_destroy(&q->lock);
}

int queue_push(Queue *q, Job *j, Err *err)
{
    pthread_mutex_lock(&q->lock);
    j->since = clock_now(&clock_system);
    bool closed = q->closed;
    bool full = q->len >= q->max;
    if (!closed && !full) {
        j->next = NULL;
        *q->tail = j;
        q->tail = &j->next;
        q->len++;
        pthread_cond_signal(&q->filled);
    }
    pthread_mutex_unlock(&q->lock);
    if (closed)
        return err_set(err, ERR_UNAVAILABLE, "the store is closed");
    if (full)
        return err_set(err, ERR_OVERLOADED, "the server is busy: too many requests wait for the store");
    return 0;
}

static Job *pop_locked(Queue *q)
{
    Job *j = q->head;
    if (!j)
        return NULL;
    q->head = j->next;
    if (!q->head)
        q->tail = &q->head;
    q->len--;
    j->next = NULL;
    return j;
}

static struct timespec deadline_of(Usec wait)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(wait / USEC_PER_SEC);
    t.tv_nsec += (long)(wait % USEC_PER_SEC) * 1000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

Job *queue_pop(Queue *q, Usec wait, bool *ret_closed)
{
    struct timespec deadline = wait == USEC_NEVER ? (struct timespec){0} : deadline_of(wait);
    int rc = 0;
    pthread_mutex_lock(&q->lock);
    while (!q->head && !q->closed && rc != ETIMEDOUT) {
        if (wait == USEC_NEVER)
            rc = pthread_cond_wait(&q->filled, &q->lock);
        else
            rc = pthread_cond_timedwait(&q->filled, &q->lock, &deadline);
    }
    Job *j = pop_locked(q);
    *ret_closed = !j && q->closed;
    pthread_mutex_unlock(&q->lock);
    return j;
}

Job *queue_try_pop(Queue *q)
{
    pthread_mutex_lock(&q->lock);
    Job *j = pop_locked(q);
    pthread_mutex_unlock(&q->lock);
    return j;
}

void queue_close(Queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->filled);
    pthread_mutex_unlock(&q->lock);
}

size_t queue_len(Queue *q)
{
    pthread_mutex_lock(&q->lock);
    size_t len = q->len;
    pthread_mutex_unlock(&q->lock);
    return len;
}

Usec queue_since(Queue *q)
{
    pthread_mutex_lock(&q->lock);
    Usec since = q->head ? q->head->since : USEC_NEVER;
    pthread_mutex_unlock(&q->lock);
    return since;
}
