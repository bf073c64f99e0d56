/* Request bodies. First byte: kind and mode. What is accepted must be written and read back as the same
 * object. */
#include <assert.h>
#include "kinds/obj.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const Obj *o)
{
    CLEANUP_BUF Buf b = BUF_INIT(64 << 20);
    CLEANUP_JSON json_t *j = NULL;
    CLEANUP(obj_freep) Obj *back = NULL;
    obj_to_json(o, &b, NULL);
    assert(!b.failed);
    int rc = json_parse(buf_str(&b), &j, NULL);
    assert(rc == 0);
    rc = obj_from_answer(o->kind, j, &back, NULL);
    assert(rc == 0);
    for (size_t i = 0; i < o->kind->n_json_order; i++) {
        int field = o->kind->json_order[i];
        if (field >= 0 && obj_has(o, field))
            assert(obj_value_equal(o, back, field));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n;
    const Kind *const *kinds = kinds_all(&n);
    if (!size)
        return 0;
    const Kind *k = kinds[data[0] % n];
    ObjMode mode = (ObjMode)(data[0] / n % 3);
    if (mode == OBJ_STATUS && k != &kind_session)
        mode = OBJ_CREATE;
    CLEANUP(obj_freep) Obj *o = NULL;
    Err err = {0};
    int rc = obj_from_json_text(k, mode, (Str){(const char *)data + 1, size - 1}, &o, &err);
    if (rc == 0 && mode == OBJ_CREATE)
        rc = obj_finish_create(o, &err);
    if (rc < 0)
        assert(err.code != ERR_OK && err.msg[0]);
    else
        check_round_trip(o);
    return 0;
}
