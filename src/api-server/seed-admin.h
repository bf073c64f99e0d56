/* seed-admin: the first administrator of an installation. */
#pragma once

#include "config.h"

/* Makes the user of --username a platform:admin, everywhere, unless he is one; says so on standard output. */
int seed_admin_run(const Config *c, Err *err);
