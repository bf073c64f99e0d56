/* Bodies of POST / and payloads of user messages. */
#include <stdlib.h>
#include "run-input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str text = {(const char *)data, size};
    RunInput in = {0};
    RunInputFault fault = {0};

    if (run_input_parse(text, &in, &fault) == 0) {
        if (!in.run_id || !in.text || !json_is_array(in.messages))
            abort();
        run_input_done(&in);
    } else if (!fault.type || !fault.msg) {
        abort();
    }
    if (!str_is_utf8(text))
        return 0; /* payloads are, the client sees to it */
    run_input_from_payload(text, &in);
    if (!in.run_id || !in.text || json_array_size(in.messages) == 0)
        abort();
    run_input_done(&in);
    return 0;
}
