/* The search language and orderBy, for every kind: any bytes either give a tree of known columns or a reason.
 */
#include <assert.h>
#include "kinds/search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every node must name a column of the kind. Depth is bounded by the parser's limits. */
static void check_tree(const Kind *k, const SearchExpr *e)
{
    if (!e)
        return;
    assert(e->left.field >= 0 && (size_t)e->left.field < k->n_fields);
    for (size_t i = 0; i < e->n_lits; i++)
        assert(e->lits[i].text);
    check_tree(k, e->a);
    check_tree(k, e->b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n;
    const Kind *const *kinds = kinds_all(&n);
    Str text = {(const char *)data, size};
    for (size_t i = 0; i < n; i++) {
        CLEANUP(search_freep) SearchExpr *e = NULL;
        OrderBy order;
        Err err = {0};
        if (search_parse(kinds[i], text, &e, &err) == 0)
            check_tree(kinds[i], e);
        else
            assert(err.code == ERR_BAD_REQUEST && err.msg[0]);
        if (order_by_parse(kinds[i], text, &order, &err) == 0)
            assert(order.n <= sizeof(order.items) / sizeof(order.items[0]));
    }
    return 0;
}
