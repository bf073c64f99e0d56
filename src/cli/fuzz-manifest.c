/* Any text is read as manifests or refused with a reason; what was read can be compared, merged and told
 * apart. */
#include <assert.h>
#include "apply.h"
#include "base/mem.h"
#include "kustomize-internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libfyaml 0.7.12 forgets a list of its own when a flow collection is broken. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so";
}

/* What the server fills in, and digests, which are slow on purpose. */
static bool is_left_out(const Item *it)
{
    for (size_t i = 0; i < it->table->n_fields; i++) {
        const Field *f = &it->table->fields[i];
        if ((f->dflt || f->flags & F_WRITE_ONLY) && json_object_get(it->fields, f->json))
            return true;
    }
    return false;
}

/* A new object with these fields, read back, has nothing to change. */
static void check_merge(const Item *it)
{
    CLEANUP_JSON json_t *made = NULL;
    CLEANUP_JSON json_t *again = NULL;
    if (is_left_out(it) || merge_body(it->table, it->fields, NULL, &made, NULL) < 0)
        return;
    int rc = merge_body(it->table, it->fields, made, &again, NULL);
    assert(rc < 0 || json_object_size(again) == 0);
}

static void check_doc(const Doc *d)
{
    CLEANUP_FREE char *key = doc_key(d);
    CLEANUP(item_freep) Item *it = NULL;
    Err err = {0};
    if (item_from_doc(d, VALIDATE_STRICT, false, &it, &err) == 0)
        check_merge(it);
    else
        assert(!it && err.code && *err.msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP_DOCS Docs docs = {0};
    Err err = {0};
    if (docs_parse(&docs, (Str){(const char *)data, size}, "input", NULL, true, &err) < 0)
        assert(err.code && *err.msg);
    for (size_t i = 0; i < docs.len; i++)
        check_doc(docs.ptr[i]);
    if (docs.len > 1) {
        CLEANUP_JSON json_t *shaped = patch_in_shape(docs.ptr[0], docs.ptr[1]->body);
        merge_strategic(docs.ptr[0]->body, shaped);
        (void)patch_json(docs.ptr[0]->body, json_get_arr(docs.ptr[1]->body, "patch"), NULL);
    }
    return 0;
}
