/* Calls that read or write without a bound, or keep hidden state: using one fails to compile. Included by force. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf gets strtok atoi atol atof gmtime localtime ctime asctime system popen alloca mktemp tmpnam
