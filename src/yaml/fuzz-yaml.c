/* Any text is read or refused within the limits; what was read reads back after it was written. */
#include "yaml/yaml.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libfyaml 0.7.12 forgets a list of its own when a flow collection is broken. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so";
}

static void check_round_trip(const json_t *v)
{
    CLEANUP_BUF Buf first = BUF_INIT(1 << 26), second = BUF_INIT(1 << 26), third = BUF_INIT(1 << 26);
    CLEANUP_JSON json_t *once = NULL, *twice = NULL;
    if (yaml_write(&first, v, NULL) == -(int)ERR_INVALID)
        return; /* a key that is too long to write */
    int r = yaml_parse_all(buf_str(&first), &once, NULL);
    assert(r == 0 && json_array_size(once) == 1);
    r = yaml_write(&second, json_array_get(once, 0), NULL); /* reals without a fraction are integers now */
    assert(r == 0);
    r = yaml_parse_all(buf_str(&second), &twice, NULL);
    assert(r == 0 && json_equal(once, twice));
    r = yaml_write(&third, json_array_get(twice, 0), NULL);
    assert(r == 0 && str_eq(buf_str(&second), buf_str(&third)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP_JSON json_t *documents = NULL, *written = NULL;
    Err err = {0};
    Str text = {(const char *)data, size};
    if (yaml_parse_all(text, &documents, &err) < 0)
        assert(!documents && err.code && *err.msg);
    for (size_t i = 0; i < json_array_size(documents); i++)
        check_round_trip(json_array_get(documents, i));
    if (yaml_parse_all_as_written(text, &written, NULL) == 0 && documents)
        assert(json_array_size(written) == json_array_size(documents));
    return 0;
}
