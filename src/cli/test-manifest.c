/* The pure parts of apply and kustomize: merging, comparing, selecting, showing differences, reading
 * documents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "apply.h"
#include "base/mem.h"
#include "diff.h"
#include "kustomize-internal.h"
#include "selector.h"

static json_t *j(const char *text)
{
    json_t *v = NULL;
    Err err = {0};
    if (json_parse(str_from(text), &v, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return v;
}

static void assert_json(const json_t *have, const char *want)
{
    CLEANUP_JSON json_t *w = j(want);
    CLEANUP_BUF Buf b = BUF_INIT(65536);
    json_write_plain(&b, have);
    if (!json_equal(have, w))
        fail_msg("%s is not %s", b.data, want);
}

/* ---- strategic merge, JSON patch ---- */

static void test_merge__strategic(void **state)
{
    static const char *const cases[][3] = {
        {"{\"a\":1,\"b\":{\"c\":2}}", "{\"b\":{\"d\":3}}", "{\"a\":1,\"b\":{\"c\":2,\"d\":3}}"},
        {"{\"a\":[1,2]}", "{\"a\":[3]}", "{\"a\":[3]}"},
        {"{\"a\":1,\"b\":2}", "{\"a\":null}", "{\"b\":2}"},
        {"{}", "{\"a\":{\"b\":null,\"c\":1}}", "{\"a\":{\"c\":1}}"},
        {"{\"a\":{\"b\":1}}", "{\"a\":{\"$patch\":\"replace\",\"c\":2}}", "{\"a\":{\"c\":2}}"},
        {"{\"a\":{\"b\":1}}", "{\"a\":{\"$patch\":\"delete\"}}", "{}"},
        {"{\"a\":{\"b\":1}}", "{\"a\":\"text\"}", "{\"a\":\"text\"}"},
        {"{\"a\":\"text\"}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_JSON json_t *into = j(cases[i][0]);
        CLEANUP_JSON json_t *patch = j(cases[i][1]);
        merge_strategic(into, patch);
        assert_json(into, cases[i][2]);
    }
}

static void test_merge__json_patch(void **state)
{
    static const char *const cases[][3] = {
        {"{\"a\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/a/0\",\"value\":0}]", "{\"a\":[0,1,2]}"},
        {"{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/-\",\"value\":2}]", "{\"a\":[1,2]}"},
        {"{\"a\":{}}", "[{\"op\":\"add\",\"path\":\"/a/x~1y~0z\",\"value\":1}]", "{\"a\":{\"x/y~z\":1}}"},
        {"{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b\"}]", "{\"b\":1}"},
        {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/b\",\"value\":1}]", "{\"a\":1,\"b\":1}"},
        {"{\"a\":[1]}", "[{\"op\":\"replace\",\"path\":\"/a/1\",\"value\":1}]", NULL},
        {"{\"a\":[1]}", "[{\"op\":\"remove\",\"path\":\"/a/1\"}]", NULL},
        {"{\"a\":[1]}", "[{\"op\":\"remove\",\"path\":\"/a/00\"}]", NULL},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b/c\",\"value\":1}]", NULL},
        {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", NULL},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"a\",\"value\":2}]", NULL},
        {"{\"a\":1}", "[{\"op\":\"frob\",\"path\":\"/a\",\"from\":\"/a\"}]", NULL},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\"}]", NULL},
        {"{\"a\":1}", "[{\"path\":\"/b\"}]", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_JSON json_t *doc = j(cases[i][0]);
        CLEANUP_JSON json_t *patch = j(cases[i][1]);
        int rc = patch_json(doc, patch, NULL);
        assert_int_equal(rc < 0, cases[i][2] == NULL);
        if (cases[i][2])
            assert_json(doc, cases[i][2]);
    }
}

/* ---- what differs from the server ---- */

static json_t *body_of(const Kind *k, const char *want, const char *live)
{
    CLEANUP_JSON json_t *w = j(want);
    CLEANUP_JSON json_t *l = live ? j(live) : NULL;
    json_t *body = NULL;
    Err err = {0};
    if (merge_body(k, w, l, &body, &err) < 0)
        fail_msg("%s", err.msg);
    return body;
}

static void test_merge__only_differences_are_sent(void **state)
{
    static const char *const cases[][3] = {
        {"{\"name\":\"a\",\"prompt\":\"p\"}", "{\"name\":\"a\",\"prompt\":\"p\",\"description\":\"d\"}",
         "{}"},
        {"{\"prompt\":\"q\"}", "{\"prompt\":\"p\"}", "{\"prompt\":\"q\"}"},
        {"{\"description\":\"\"}", "{}", "{}"},
        {"{\"description\":\"\"}", "{\"description\":\"d\"}", "{\"description\":\"\"}"},
        {"{\"llm_model\":null}", "{\"llm_model\":\"claude-sonnet-4-6\"}", "{}"},
        {"{\"llm_model\":null}", "{\"llm_model\":\"other\"}", "{\"llm_model\":null}"},
        {"{\"llm_temperature\":1}", "{\"llm_temperature\":1.0}", "{}"},
        {"{\"llm_max_tokens\":-1}", "{\"llm_max_tokens\":4000}", "{}"},
        {"{\"environment_variables\":{\"A\":\"1\",\"B\":\"2\"}}",
         "{\"environment_variables\":\"{\\\"B\\\":\\\"2\\\",\\\"A\\\":\\\"1\\\"}\"}", "{}"},
        {"{\"labels\":{}}", "{}", "{}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_JSON json_t *body = body_of(&kind_agent, cases[i][0], cases[i][1]);
        assert_json(body, cases[i][2]);
    }
}

/* Applying, reading back, applying again: the second time there is nothing to send. */
static void test_merge__labels_three_ways(void **state)
{
    CLEANUP_JSON json_t *made =
        body_of(&kind_agent, "{\"labels\":{\"b\":\"2\",\"a\":\"1\"},\"annotations\":{\"n\":\"x\"}}", NULL);
    assert_string_equal(json_get_str(made, "labels"), "{\"a\":\"1\",\"b\":\"2\"}");
    assert_string_equal(
        json_get_str(made, "annotations"),
        "{\"ambient.io/last-applied\":\"{\\\"annotations\\\":[\\\"n\\\"],\\\"labels\\\":[\\\"a\\\","
        "\\\"b\\\"]}\",\"n\":\"x\"}");
    CLEANUP_JSON json_t *theirs = map_of_text(json_object_get(made, "labels"));
    json_object_set_new(theirs, "other", json_string("kept"));
    json_object_set(made, "labels", theirs);
    CLEANUP_JSON json_t *w = j("{\"labels\":{\"a\":\"1\"},\"annotations\":{\"n\":\"x\"}}");
    CLEANUP_JSON json_t *body = NULL;
    assert_int_equal(merge_body(&kind_agent, w, made, &body, NULL), 0);
    assert_string_equal(json_get_str(body, "labels"), "{\"a\":\"1\",\"other\":\"kept\"}");
    json_object_update(made, body);
    CLEANUP_JSON json_t *again = NULL;
    assert_int_equal(merge_body(&kind_agent, w, made, &again, NULL), 0);
    assert_json(again, "{}");
}

static void test_merge__a_secret_is_sent_when_it_changed(void **state)
{
    CLEANUP_JSON json_t *w = j("{\"name\":\"c\",\"provider\":\"github\",\"token\":\"a$b\"}");
    CLEANUP_JSON json_t *made =
        body_of(&kind_credential, "{\"name\":\"c\",\"provider\":\"github\",\"token\":\"a$b\"}", NULL);
    assert_string_equal(json_get_str(made, "token"), "a$b");
    assert_null(strstr(json_get_str(made, "annotations"), "a$b"));
    json_object_del(made, "token"); /* as the server answers */
    CLEANUP_JSON json_t *same = NULL;
    assert_int_equal(merge_body(&kind_credential, w, made, &same, NULL), 0);
    assert_json(same, "{}");
    json_object_set_new(w, "token", json_string("other"));
    CLEANUP_JSON json_t *changed = NULL;
    assert_int_equal(merge_body(&kind_credential, w, made, &changed, NULL), 0);
    assert_string_equal(json_get_str(changed, "token"), "other");
    assert_non_null(json_get_str(changed, "annotations"));
    json_object_set_new(made, "annotations",
                        json_string("{\"ambient.io/last-applied\":\"{\\\"token\\\":\\\"zz:1\\\"}\"}"));
    CLEANUP_JSON json_t *damaged = NULL;
    assert_int_equal(merge_body(&kind_credential, w, made, &damaged, NULL), 0);
    assert_string_equal(json_get_str(damaged, "token"), "other");
}

/* ---- selectors ---- */

static void test_selector__labels_and_fields(void **state)
{
    static const struct {
        const char *text;
        bool labels, want;
    } cases[] = {
        {"a=1", true, true},
        {"a==1", true, true},
        {"a=2", true, false},
        {"a!=2", true, true},
        {"gone!=2", true, true},
        {"a", true, true},
        {"gone", true, false},
        {"!gone", true, true},
        {"!a", true, false},
        {"a in (2, 1)", true, true},
        {"a in (2)", true, false},
        {"a notin (1)", true, false},
        {"gone notin (1)", true, true},
        {"gone in (1)", true, false},
        {"a=1,x/y.z=w", true, true},
        {"a=1,!a", true, false},
        {"phase=Running", false, true},
        {"phase!=Running", false, false},
        {"n=3", false, true},
        {"labels.a=1", false, true},
        {"none=", false, true},
    };
    CLEANUP_JSON json_t *obj =
        j("{\"phase\":\"Running\",\"n\":3,\"labels\":\"{\\\"a\\\":\\\"1\\\",\\\"x/y.z\\\":\\\"w\\\"}\"}");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(selector_freep) Selector *s = NULL;
        assert_int_equal(selector_parse(cases[i].text, cases[i].labels, &s, NULL), 0);
        if (selector_matches(s, obj) != cases[i].want)
            fail_msg("%s", cases[i].text);
    }
    static const char *const wrong[] = {"", "a,", "=1", "a in 1", "(a)", "a b=1", "a within (1)"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        Selector *s = NULL;
        if (selector_parse(wrong[i], true, &s, NULL) == 0)
            fail_msg("\"%s\" was taken", wrong[i]);
    }
}

/* ---- differences ---- */

static void test_diff__hunks(void **state)
{
    static const char *const cases[][3] = {
        {"a\n", "a\n", ""},
        {"", "a\nb\n", "--- /dev/null\n+++ new\n@@ -0,0 +1,2 @@\n+a\n+b\n"},
        {"a\nb\nc\n", "a\nx\nc\n", "--- /dev/null\n+++ new\n@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n"},
        {"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\n5\n6\n7\n8\nnine\n",
         "--- /dev/null\n+++ new\n@@ -6,4 +6,4 @@\n 6\n 7\n 8\n-9\n+nine\n"},
        {"x\n1\n2\n3\n4\n5\n6\n7\n8\nx\n", "1\n2\n3\n4\n5\n6\n7\n8\n",
         "--- /dev/null\n+++ new\n@@ -1,4 +1,3 @@\n-x\n 1\n 2\n 3\n@@ -7,4 +6,3 @@\n 6\n 7\n 8\n-x\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_BUF Buf b = BUF_INIT(65536);
        diff_texts(&b, NULL, str_from(cases[i][0]), "new", str_from(cases[i][1]), false);
        assert_string_equal(b.data ? b.data : "", cases[i][2]);
    }
}

/* ---- documents ---- */

static void test_docs__keys_tell_documents_apart(void **state)
{
    static const char text[] =
        "kind: Agent\nname: lead\n---\nkind: agent\nmetadata: {name: Lead, project: p}\n---\n"
        "kind: RoleBinding\nrole: r\nscope: agent\nscope_id: x\n---\nkind: Other\nname: 1.10\n";
    static const char *const keys[] = {"agent/lead", "agent/Lead (project p)",
                                       "role-binding/role=r/scope=agent/scope_id=x", "other/1.10"};
    CLEANUP_DOCS Docs docs = {0};
    assert_int_equal(docs_parse(&docs, str_from(text), "x", NULL, true, NULL), 0);
    assert_int_equal(docs.len, 4);
    for (size_t i = 0; i < 4; i++) {
        CLEANUP_FREE char *key = doc_key(docs.ptr[i]);
        assert_string_equal(key, keys[i]);
    }
}

/* Every kind that manifests may hold has a table and a resource, and what its row names exists in them. */
static void test_docs__rows_fit_the_tables(void **state)
{
    size_t n;
    const ManifestKind *kinds = manifest_kinds(&n);
    for (size_t i = 0; i < n; i++) {
        const ManifestKind *k = &kinds[i];
        const Kind *t = manifest_table(k);
        if (!t || !resource_find(k->noun))
            fail_msg("%s has no table or no resource", k->name);
        for (const ManifestRef *r = k->refs; r && r->member; r++) {
            if (kind_field(t, str_from(r->field)) < 0 || !resource_find(r->noun))
                fail_msg("%s: %s", k->name, r->field);
        }
        for (const ManifestAlias *a = k->aliases; a && a->member; a++) {
            bool ref = false;
            for (const ManifestRef *r = k->refs; r && r->member; r++)
                ref = ref || strcmp(r->member, a->field) == 0;
            if (!ref && kind_field(t, str_from(a->field)) < 0)
                fail_msg("%s: %s", k->name, a->field);
        }
        for (const char *const *f = k->identity; f && *f; f++) {
            if (kind_field(t, str_from(*f)) < 0)
                fail_msg("%s: %s", k->name, *f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge__strategic),
        cmocka_unit_test(test_merge__json_patch),
        cmocka_unit_test(test_merge__only_differences_are_sent),
        cmocka_unit_test(test_merge__labels_three_ways),
        cmocka_unit_test(test_merge__a_secret_is_sent_when_it_changed),
        cmocka_unit_test(test_selector__labels_and_fields),
        cmocka_unit_test(test_diff__hunks),
        cmocka_unit_test(test_docs__keys_tell_documents_apart),
        cmocka_unit_test(test_docs__rows_fit_the_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
