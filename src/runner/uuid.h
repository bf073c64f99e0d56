/* Random UUIDs (RFC 4122, version 4): ids of AG-UI runs and messages. */
#pragma once

#define UUID_LEN 36
void uuid_new(char out[static UUID_LEN + 1]);
