/*
 * Calls that read or write without a bound, keep hidden state, or run a shell: using one fails to compile.
 * Included by force in front of every C file (meson.build); the system's own headers come first, as they
 * declare them. Instead: Buf and snprintf, str_to_*, rfc3339_*, loop's children, mkostemp. alloca and scanf
 * are used in headers of libraries: tests/check.py looks for those two.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef sprintf /* clang's fortified <stdio.h> has macros, and poisoning a macro warns */
#undef vsprintf

#pragma GCC poison strcpy strcat strncpy strncat stpcpy stpncpy sprintf vsprintf gets sscanf strtok
#pragma GCC poison atoi atol atoll atof gmtime localtime ctime asctime system popen mktemp tmpnam tempnam
