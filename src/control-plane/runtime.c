#include "runtime.h"

#include "base/cleanup.h"

static const char *const stop_names[_RT_STOP_MAX] = {
    [RT_STOP_NONE] = "",
    [RT_STOP_USER] = "user",
    [RT_STOP_TIME_LIMIT] = "time-limit",
    [RT_STOP_UNHEALTHY] = "unhealthy",
    [RT_STOP_SUPERSEDED] = "superseded",
    [RT_STOP_SHUTDOWN] = "shutdown",
};

const char *rt_stop_name(RtStop s)
{
    return stop_names[s];
}

RtStop rt_stop_parse(Str s)
{
    for (int i = 0; i < _RT_STOP_MAX; i++)
        if (str_eqz(s, stop_names[i]))
            return (RtStop)i;
    return RT_STOP_NONE;
}
