/* `permissions`: which permission each path and RPC needs, and which role holds what, as Markdown. */
#pragma once

void permissions_print(void);
