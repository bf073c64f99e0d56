/* Several stores on one database, as several servers have it. */
#include "test-support.h"

#include "base/vec.h"

int run_replica_tests(void)
{
    return 0;
}
