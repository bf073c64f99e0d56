#include "search-internal.h"
#include "base/cleanup.h"

static int bad_item(Str item, Err *err)
{
    return err_set(err, ERR_BAD_REQUEST, "bad order value '" STR_FMT "'", STR_ARG(str_slice(item, 0, 128)));
}

/* "table.name" of the own table is the same as "name". */
static Str without_table(const Kind *k, Str name)
{
    Str rest = name, table = str_cut(&rest, '.');
    return rest.ptr && str_ieq(table, str_from(k->table)) ? rest : name;
}

static int parse_item(const Kind *k, Str item, OrderItem *ret, Err *err)
{
    Str direction = item;
    Str name = str_cut(&direction, ' ');
    bool desc = direction.ptr && str_eqz(direction, "desc");
    if (!name.len || (direction.ptr && !desc && !str_eqz(direction, "asc")))
        return bad_item(item, err);
    int field = search_resolve(k, without_table(k, name), false, err);
    if (field < 0)
        return -ERR_BAD_REQUEST;
    *ret = (OrderItem){field, desc};
    return 0;
}

int order_by_parse(const Kind *k, Str text, OrderBy *ret, Err *err)
{
    OrderBy order = {0};
    if (!str_trim(text).len) {
        *ret = order;
        return 0;
    }
    for (Str rest = text; rest.ptr;) {
        Str item = str_trim(str_cut(&rest, ','));
        if (order.n == ARRAY_LEN(order.items))
            return err_set(err, ERR_BAD_REQUEST, "orderBy takes at most %zu columns", ARRAY_LEN(order.items));
        int rc = parse_item(k, item, &order.items[order.n], err);
        if (rc < 0)
            return rc;
        order.n++;
    }
    *ret = order;
    return 0;
}
