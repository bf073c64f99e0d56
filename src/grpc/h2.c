#include "h2-internal.h"

#include <assert.h>
#include <stdlib.h>

enum { OUTBOUND_ACK_MAX = 1000, SETTINGS_ENTRIES_MAX = 32, CONTINUATIONS_MAX = 8 };

void h2_put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

void h2_goaway_write(const H2Sink *sink, int32_t last_stream_id, uint32_t code, const char *reason)
{
    uint8_t head[H2_FRAME_HEAD + 8] = {0};
    Str text = str_from(reason);
    text.len = text.len < 200 ? text.len : 200;
    head[2] = (uint8_t)(8 + text.len);
    head[3] = NGHTTP2_GOAWAY;
    h2_put_u32(head + H2_FRAME_HEAD, (uint32_t)last_stream_id);
    h2_put_u32(head + H2_FRAME_HEAD + 4, code);
    sink->write(sink->arg, (Str){(const char *)head, sizeof(head)});
    sink->write(sink->arg, text);
}

void h2_check(int rv)
{
    if (rv == NGHTTP2_ERR_NOMEM)
        abort();
}

nghttp2_session_callbacks *h2_callbacks_new(void)
{
    nghttp2_session_callbacks *cb = NULL;
    h2_check(nghttp2_session_callbacks_new(&cb));
    return cb;
}

static nghttp2_option *options_new(void)
{
    nghttp2_option *opt = NULL;
    h2_check(nghttp2_option_new(&opt));
    nghttp2_option_set_no_auto_window_update(opt, 1);
    nghttp2_option_set_no_closed_streams(opt, 1);
    nghttp2_option_set_max_outbound_ack(opt, OUTBOUND_ACK_MAX);
    nghttp2_option_set_max_settings(opt, SETTINGS_ENTRIES_MAX);
    nghttp2_option_set_max_continuations(opt, CONTINUATIONS_MAX);
    /* Resets are the meter's, which counts more kinds of them and has a clock that tests can turn. */
    nghttp2_option_set_stream_reset_rate_limit(opt, UINT32_MAX, UINT32_MAX);
    /* We trim values ourselves instead of refusing them. */
    nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(opt, 1);
    return opt;
}

nghttp2_session *h2_new_server(nghttp2_session_callbacks *cb, void *user)
{
    nghttp2_option *opt = options_new();
    nghttp2_session *h2 = NULL;
    h2_check(nghttp2_session_server_new2(&h2, cb, user, opt));
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(opt);
    return h2;
}

nghttp2_session *h2_new_client(nghttp2_session_callbacks *cb, void *user)
{
    nghttp2_option *opt = options_new();
    nghttp2_session *h2 = NULL;
    h2_check(nghttp2_session_client_new2(&h2, cb, user, opt));
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(opt);
    return h2;
}

static void add(H2Fields *f, const char *name, Str value, uint8_t flags)
{
    union { /* nghttp2 takes pointers to non-const and only reads */
        const char *text;
        uint8_t *bytes;
    } n = {.text = name}, v = {.text = value.ptr ? value.ptr : ""};
    assert(f->len < H2_FIELDS_MAX);
    f->nv[f->len++] = (nghttp2_nv){n.bytes, v.bytes, strlen(name), value.len, flags};
}

void h2_field_add(H2Fields *f, const char *name, Str value)
{
    add(f, name, value, NGHTTP2_NV_FLAG_NONE);
}

void h2_field_add_secret(H2Fields *f, const char *name, Str value)
{
    add(f, name, value, NGHTTP2_NV_FLAG_NO_INDEX);
}
