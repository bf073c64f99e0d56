/* Label selectors: any bytes either give a tree of labels or a reason, and what is in the tree is a label. */
#include <assert.h>
#include "kinds/search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tree(const SearchExpr *e)
{
    while (e && e->op == S_AND) {
        check_tree(e->b);
        e = e->a;
    }
    if (!e)
        return;
    assert(e->op == S_LABEL_IN || e->op == S_LABEL_EXISTS);
    assert(e->left.field == SESSION_LABELS && e->n_lits >= 1);
    assert((e->op == S_LABEL_EXISTS) == (e->n_lits == 1));
    assert(label_key_ok(str_from(e->lits[0].text)));
    for (size_t i = 1; i < e->n_lits; i++)
        assert(label_value_ok(str_from(e->lits[i].text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(search_freep) SearchExpr *e = NULL;
    Err err = {0};
    if (label_selector_parse(&kind_session, (Str){(const char *)data, size}, &e, &err) == 0)
        check_tree(e);
    else
        assert(err.code == ERR_BAD_REQUEST && err.msg[0]);
    return 0;
}
