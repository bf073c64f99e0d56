#include "kinds/kind.h"
#include "base/cleanup.h"

#define TO(p) (1u << PHASE_##p)

/*
 * The table of a session's phases (rest-core.md 11.1). `status` names the phases that a status PATCH may move
 * to: what a runtime observes. Terminal phases change only by start.
 */
static const struct {
    const char *name;
    unsigned status;
    bool terminal, active, start, stop;
} phases[_PHASE_MAX] = {
    [PHASE_NONE] = {"", TO(CREATING) | TO(RUNNING) | TO(FAILED) | TO(STOPPED), .start = true},
    [PHASE_PENDING] = {"Pending", TO(CREATING) | TO(RUNNING) | TO(FAILED) | TO(STOPPED), .active = true,
                       .stop = true},
    [PHASE_CREATING] = {"Creating", TO(RUNNING) | TO(FAILED) | TO(STOPPED), .active = true, .stop = true},
    [PHASE_RUNNING] = {"Running", TO(STOPPING) | TO(COMPLETED) | TO(FAILED), .active = true, .stop = true},
    [PHASE_STOPPING] = {"Stopping", TO(STOPPED) | TO(FAILED), .stop = true},
    [PHASE_STOPPED] = {"Stopped", 0, .terminal = true, .start = true},
    [PHASE_COMPLETED] = {"Completed", 0, .terminal = true, .start = true},
    [PHASE_FAILED] = {"Failed", 0, .terminal = true, .start = true},
};

static bool valid(Phase p)
{
    return p >= 0 && p < _PHASE_MAX;
}

const char *phase_name(Phase p)
{
    return valid(p) ? phases[p].name : "";
}

Phase phase_parse(Str s)
{
    for (int p = 0; p < _PHASE_MAX; p++)
        if (str_eqz(s, phases[p].name))
            return (Phase)p;
    return _PHASE_INVALID;
}

bool phase_is_terminal(Phase p)
{
    return valid(p) && phases[p].terminal;
}

bool phase_is_active(Phase p)
{
    return valid(p) && phases[p].active;
}

bool phase_status_move_ok(Phase from, Phase to)
{
    return valid(from) && valid(to) && (from == to || (phases[from].status & (1u << to)));
}

bool phase_can_start(Phase p)
{
    return valid(p) && phases[p].start;
}

bool phase_can_stop(Phase p)
{
    return valid(p) && phases[p].stop;
}
