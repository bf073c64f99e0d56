/* The tables are data written by hand: what the engine takes for granted about them is checked here. */
#include "test-internal.h"
#include "pb/ambient.h"

static const char *order_name(const Kind *k, size_t i)
{
    short item = k->json_order[i];
    return item == JSON_HREF ? "href" : item == JSON_KIND ? "kind" : k->fields[item].json;
}

static void test_json_order__is_alphabetical_and_holds_all_that_clients_see(void **state)
{
    size_t n;
    const Kind *const *kinds = kinds_all(&n);
    for (size_t i = 0; i < n; i++) {
        const Kind *k = kinds[i];
        size_t shown = 2; /* href, kind */
        for (size_t f = 0; f < k->n_fields; f++)
            shown += !(k->fields[f].flags & (F_INTERNAL | F_IGNORED | F_WRITE_ONLY));
        assert_int_equal(k->n_json_order, shown);
        for (size_t j = 0; j + 1 < k->n_json_order; j++)
            assert_true(strcmp(order_name(k, j), order_name(k, j + 1)) < 0);
        for (size_t j = 0; j < k->n_json_order; j++)
            if (k->json_order[j] >= 0)
                assert_false(k->fields[k->json_order[j]].flags & (F_INTERNAL | F_IGNORED | F_WRITE_ONLY));
    }
}

static void check_row(const Kind *k, int i)
{
    const Field *f = &k->fields[i];
    assert_non_null(f->json);
    assert_non_null(f->doc);
    assert_int_equal(f->key.len, strlen(f->json) + 3);
    assert_memory_equal(f->key.ptr + 1, f->json, strlen(f->json));
    assert_memory_equal(f->key.ptr + f->key.len - 2, "\":", 2);
    if (f->flags & F_INTERNAL)
        assert_int_equal(kind_field(k, str_from(f->json)), -1);
    else
        assert_int_equal(kind_field(k, str_from(f->json)), i);
    assert_int_equal(kind_field_by_column(k, str_from(field_column(f))), f->flags & F_IGNORED ? -1 : i);
}

static void test_rows__are_complete_and_found_by_name_and_column(void **state)
{
    size_t n;
    const Kind *const *kinds = kinds_all(&n);
    assert_true(n >= 6);
    for (size_t i = 0; i < n; i++)
        for (int f = 0; f < (int)kinds[i]->n_fields; f++)
            check_row(kinds[i], f);
}

static void test_kinds__are_found_by_their_names(void **state)
{
    size_t n;
    const Kind *const *kinds = kinds_all(&n);
    for (size_t i = 0; i < n; i++) {
        const Kind *k = kinds[i];
        assert_ptr_equal(kind_by_name(str_from(k->name)), k);
        assert_ptr_equal(kind_by_collection(str_from(k->collection)), k);
        if (k->event_source)
            assert_ptr_equal(kind_by_event_source(str_from(k->event_source)), k);
        assert_int_equal(k->href.len, strlen("/api/ambient/v1/") + strlen(k->collection) + 1);
        assert_int_equal(k->href.ptr[k->href.len - 1], '/');
        assert_int_equal(k->href.ptr[k->href.len], '\0');
    }
    assert_null(kind_by_name(STR("Nope")));
    assert_null(kind_by_collection(STR("")));
    assert_null(kind_by_event_source(STR("sessions")));
}

static void test_defaults__parse_and_orders_are_valid(void **state)
{
    size_t n;
    const Kind *const *kinds = kinds_all(&n);
    for (size_t i = 0; i < n; i++) {
        OrderBy order;
        assert_int_equal(order_by_parse(kinds[i], str_from(kinds[i]->default_order), &order, NULL), 0);
        assert_true(order.n > 0);
        for (size_t f = 0; f < kinds[i]->n_fields; f++) {
            const Field *field = &kinds[i]->fields[f];
            double d;
            if (field->dflt && !field_is_text(field) && field->type != FT_BOOL)
                assert_int_equal(str_to_double(str_from(field->dflt), &d), 0);
        }
    }
}

static void check_columns(const Kind *k)
{
    for (Str rest = str_from(k->columns); rest.ptr;) {
        Str column = str_cut(&rest, ' ');
        Str title = str_cut(&column, ':'), name = str_cut(&column, ':');
        int64_t width;
        assert_true(title.len > 0);
        /* "role|role_id": the first that an answer has; the last is always a field. */
        Str last = {0};
        while (name.ptr)
            last = str_cut(&name, '|');
        assert_true(kind_field(k, last) >= 0);
        assert_int_equal(str_to_i64(column, &width), 0);
        assert_true(width >= (int64_t)title.len);
    }
}

static void test_columns__name_fields_of_the_kind(void **state)
{
    size_t n;
    const Kind *const *kinds = kinds_all(&n);
    for (size_t i = 0; i < n; i++)
        check_columns(kinds[i]);
}

/* A field of a message that the table does not know would be dropped without a word. */
static void test_messages__have_only_fields_of_the_table(void **state)
{
    static const struct {
        const Kind *kind;
        const ProtobufCMessageDescriptor *d;
    } pairs[] = {
        {&kind_session, &ambient__v1__session__descriptor},
        {&kind_session, &ambient__v1__create_session_request__descriptor},
        {&kind_session, &ambient__v1__update_session_request__descriptor},
        {&kind_session, &ambient__v1__update_session_status_request__descriptor},
        {&kind_project, &ambient__v1__project__descriptor},
        {&kind_project, &ambient__v1__create_project_request__descriptor},
        {&kind_project, &ambient__v1__update_project_request__descriptor},
        {&kind_project_settings, &ambient__v1__project_settings__descriptor},
        {&kind_project_settings, &ambient__v1__create_project_settings_request__descriptor},
        {&kind_project_settings, &ambient__v1__update_project_settings_request__descriptor},
        {&kind_user, &ambient__v1__user__descriptor},
        {&kind_user, &ambient__v1__create_user_request__descriptor},
        {&kind_user, &ambient__v1__update_user_request__descriptor},
        {&kind_inbox_message, &ambient__v1__inbox_message__descriptor},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        for (unsigned f = 0; f < pairs[i].d->n_fields; f++) {
            const char *name = pairs[i].d->fields[f].name;
            if (strcmp(name, "metadata") != 0)
                assert_true(kind_field(pairs[i].kind, str_from(name)) >= 0);
        }
}

int run_table_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_order__is_alphabetical_and_holds_all_that_clients_see),
        cmocka_unit_test(test_rows__are_complete_and_found_by_name_and_column),
        cmocka_unit_test(test_kinds__are_found_by_their_names),
        cmocka_unit_test(test_defaults__parse_and_orders_are_valid),
        cmocka_unit_test(test_columns__name_fields_of_the_kind),
        cmocka_unit_test(test_messages__have_only_fields_of_the_table),
    };
    return cmocka_run_group_tests_name("tables", tests, NULL, NULL);
}
