#include "test-internal.h"

int main(void)
{
    int failed = test_url_group();
    failed += test_sse_group();
    failed += test_client_group();
    failed += test_parser_group();
    failed += test_server_group();
    failed += test_brief_group();
    return failed ? 1 : 0;
}
