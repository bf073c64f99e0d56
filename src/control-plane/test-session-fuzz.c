/* Everything at once: events, crashes, retries and broken streams, in any order. */
#include "test-session-rig.h"

enum { FUZZ_SESSIONS = 8 };

static void fuzz_id(char *id, size_t size, unsigned n)
{
    snprintf(id, size, "f%u", n % FUZZ_SESSIONS);
}

static void fuzz_user(Rig *r, const char *id)
{
    switch (fake_random(&r->f) % 6) {
    case 0:
        if (!fake_session(&r->f, id) && !fake_run(&r->f, id) && !map_has(r->f.started, str_from(id))) {
            map_put(r->f.started, str_from(id), r); /* ids are not used twice */
            fake_create(&r->f, id, fake_random(&r->f) % 2 ? PHASE_PENDING : PHASE_NONE);
        }
        break;
    case 1:
    case 2:
        fake_start(&r->f, id);
        break;
    case 3:
        fake_stop(&r->f, id);
        break;
    case 4:
        if (fake_random(&r->f) % 16 == 0)
            fake_delete(&r->f, id);
        break;
    default:
        if (fake_session(&r->f, id))
            fake_touch(&r->f, fake_session(&r->f, id));
        break;
    }
}

static void fuzz_world(Rig *r, const char *id)
{
    switch (fake_random(&r->f) % 4) {
    case 0:
        fake_ready(&r->f, id);
        break;
    case 1:
        fake_end(&r->f, id, (RtEnd)(1 + fake_random(&r->f) % 4), (int)(fake_random(&r->f) % 3));
        break;
    case 2:
        if (fake_run(&r->f, id) && rt_alive(&fake_run(&r->f, id)->seen) && fake_random(&r->f) % 4 == 0)
            fake_run(&r->f, id)->seen.unhealthy = true;
        break;
    default:
        break;
    }
}

static void fuzz_step(Rig *r)
{
    char id[16];
    fuzz_id(id, sizeof(id), fake_random(&r->f));
    switch (fake_random(&r->f) % 12) {
    case 0:
        fuzz_user(r, id);
        break;
    case 1:
        fuzz_world(r, id);
        break;
    case 2:
        fake_clock_advance(&r->f.clock, fake_random(&r->f) % USEC_PER_SEC);
        break;
    case 3:
        r->deaf = fake_random(&r->f) % 4 == 0; /* a stream that is broken for a while */
        break;
    case 4:
        if (fake_random(&r->f) % 64 == 0)
            restart_control_plane(r);
        else if (fake_random(&r->f) % 8 == 0)
            relist(r);
        break;
    case 5:
    case 6:
        deliver(r);
        break;
    case 7:
    case 8:
        fake_step_any(&r->f);
        break;
    default:
        if (queue_due(r))
            wq_turn(sessions_queue(r->s));
        break;
    }
}

/* The world calms down: no failures, all runners that were asked to stop end, the stream is whole. */
static void fuzz_calm(Rig *r)
{
    char id[16];
    r->deaf = false;
    r->f.fail_percent = 0;
    for (int round = 0; round < 12; round++) {
        for (unsigned i = 0; i < FUZZ_SESSIONS; i++) {
            fuzz_id(id, sizeof(id), i);
            if (fake_run(&r->f, id) && fake_run(&r->f, id)->seen.state == RT_STOPPING)
                fake_end(&r->f, id, RT_END_SIGNAL, 15);
            fake_ready(&r->f, id);
        }
        relist(r);
        pass_time(r, 70 * USEC_PER_SEC);
    }
}

static void fuzz_check(Rig *r, const char *id)
{
    const FakeRun *run = fake_run(&r->f, id);
    const Obj *o = fake_session(&r->f, id);
    if (!o) {
        assert_null(run); /* nothing is left of a deleted session */
        return;
    }
    Phase phase = obj_phase(o);
    if (phase_is_terminal(phase)) {
        assert_true(!run || run->seen.state == RT_ABSENT);
        assert_true(obj_has(o, SESSION_COMPLETION_TIME));
    } else {
        assert_string_equal(phase_name(phase), "Running");
        assert_int_equal(run->seen.state, RT_READY);
        assert_int_equal(run->seen.run, obj_int(o, SESSION_SDK_RESTART_COUNT, 0));
    }
}

static void test_session__fuzz_events_crashes_and_retries_converge(void **state)
{
    for (unsigned seed = 1; seed <= 400; seed++) {
        CLEANUP_RIG Rig r;
        rig_init(&r);
        r.f.seed = seed * 7919;
        r.f.fail_percent = seed % 3 * 10;
        relist(&r);
        for (int i = 0; i < 3000; i++)
            fuzz_step(&r);
        fuzz_calm(&r);
        char id[16];
        for (unsigned i = 0; i < FUZZ_SESSIONS; i++) {
            fuzz_id(id, sizeof(id), i);
            fuzz_check(&r, id);
        }
    }
}

int run_session_fuzz_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session__fuzz_events_crashes_and_retries_converge),
    };
    return cmocka_run_group_tests_name("session fuzz", tests, NULL, NULL);
}
