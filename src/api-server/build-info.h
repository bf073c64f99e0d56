/* Which source this program was built from. */
#pragma once

extern const char *const build_version; /* git revision, "-modified" when the tree was not clean */
extern const char *const build_time;    /* of that revision, RFC 3339 */
extern const char *const build_tag;     /* "" when it has none */
