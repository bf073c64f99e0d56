/*
 * Entity tags: what changes when an object does. A tag is made of the object's JSON, so it is the same on
 * every server, and needs no column. RFC 9110 8.8.3 and 13.1.
 */
#include "service-internal.h"

#include "crypto/crypto.h"

#define TAG_BYTES 16
#define PACKED "-gzip" /* a compressed body is another representation of the same object */

void svc_etag(Str json, char out[static SVC_ETAG_SIZE])
{
    uint8_t hash[SHA256_LEN];
    CLEANUP_BUF Buf text = BUF_INIT(64);
    sha256(json, hash);
    base64url_write(&text, hash, TAG_BYTES);
    (void)snprintf(out, SVC_ETAG_SIZE, "\"%s\"", text.data);
}

static Str opaque_part(Str tag)
{
    Str inner = str_slice(tag, 1, tag.len - 1);
    return str_ends(inner, STR(PACKED)) ? str_slice(inner, 0, inner.len - (sizeof(PACKED) - 1)) : inner;
}

static bool is_tag(Str s)
{
    return s.len >= 2 && s.ptr[0] == '"' && s.ptr[s.len - 1] == '"';
}

/* A weak tag says "about the same": enough to save a transfer, not enough to overwrite. */
bool svc_etag_listed(Str list, const char *etag, bool weak)
{
    Str mine = opaque_part(str_from(etag));
    if (str_eq(str_trim(list), STR("*")))
        return true;
    while (list.ptr) {
        Str tag = str_trim(str_cut(&list, ','));
        if (weak && str_starts(tag, STR("W/")))
            tag = str_slice(tag, 2, tag.len);
        if (is_tag(tag) && str_eq(opaque_part(tag), mine))
            return true;
    }
    return false;
}

static int precondition(Err *err)
{
    return err_set(err, ERR_PRECONDITION,
                   "the object was changed meanwhile: its ETag is not the one in If-Match");
}

int check_if_match(const Op *op, const Obj *now, Err *err)
{
    CLEANUP_BUF Buf json = BUF_INIT((size_t)64 << 20);
    char etag[SVC_ETAG_SIZE];
    if (!op->if_match.len)
        return 0;
    if (!now)
        return precondition(err);
    obj_to_json(now, &json, NULL);
    svc_etag(buf_str(&json), etag);
    return svc_etag_listed(op->if_match, etag, false) ? 0 : precondition(err);
}
