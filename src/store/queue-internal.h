/* Waiting jobs of one mode. Any thread pushes; worker threads take. */
#pragma once

#include <pthread.h>
#include "base/clock.h"
#include "store/store.h"

typedef struct Job {
    struct Job *next;
    StoreJob fn;
    StoreDone done;
    void *arg;
    Usec since; /* when it was queued, monotonic */
    int rc;
    Err err;
} Job;

typedef struct Queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    Job *head, **tail;
    size_t len, max;
    bool closed;
} Queue;

void queue_init(Queue *q, size_t max);
void queue_done(Queue *q);
int queue_push(Queue *q, Job *j, Err *err); /* ERR_OVERLOADED when full, ERR_UNAVAILABLE when closed */
/* The next job, or NULL: none came within `wait` (USEC_NEVER = as long as it takes), or the queue is closed
   and empty (*ret_closed). */
Job *queue_pop(Queue *q, Usec wait, bool *ret_closed);
Job *queue_try_pop(Queue *q);
void queue_close(Queue *q); /* what waits is still handed out */
size_t queue_len(Queue *q);
Usec queue_since(Queue *q); /* when the job that waits longest came; USEC_NEVER = none waits */
