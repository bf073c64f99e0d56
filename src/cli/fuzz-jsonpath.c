/* Any template is taken or refused; one that is taken can be evaluated. The first line is the template, the
   rest the value. The same bytes go through the selectors. */
#include <assert.h>
#include "base/mem.h"
#include "jsonpath.h"
#include "selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_selector(const char *text, bool labels, const json_t *value)
{
    CLEANUP(selector_freep) Selector *s = NULL;
    Err err = {0};
    if (selector_parse(text, labels, &s, &err) == 0)
        (void)selector_matches(s, value);
    else
        assert(!s && err.code == ERR_USAGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str rest = {(const char *)data, size}, first = str_cut(&rest, '\n');
    CLEANUP_FREE char *text = str_dup(first);
    CLEANUP_JSON json_t *value = NULL;
    CLEANUP(jsonpath_freep) JsonPath *p = NULL, *field = NULL;
    CLEANUP_BUF Buf out = BUF_INIT(1 << 20);
    Err err = {0};
    if (json_parse(rest.ptr ? rest : STR("{}"), &value, NULL) < 0)
        value = json_object();
    if (jsonpath_parse(text, &p, &err) == 0)
        jsonpath_print(p, value, &out);
    else
        assert(!p && err.code == ERR_USAGE);
    if (jsonpath_parse_field(text, &field, NULL) == 0) {
        CLEANUP_JSON json_t *values = jsonpath_values(field, value);
        assert(json_is_array(values));
    }
    check_selector(text, true, value);
    check_selector(text, false, value);
    return 0;
}
